//! A lock on a machine, held by a shell there for as long as it hears from us: it ends with the channel, or when the
//! channel has been silent for half a minute. Nobody's clock is asked: "since" is counted by the machine's uptime.
//! Whoever holds it may leave a note there, which the next one gets; it lasts until the machine reboots.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Machine, Script, Stream};
use crate::failure::{Code, Failure, Result};

/// Who holds a lock, as the next one is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Tells this run from every other, an earlier one of the same person included.
    pub mark: String,
    /// `user@workstation`.
    pub who: String,
    /// What the person runs.
    pub command: String,
    /// For how many seconds.
    pub seconds: u64,
}

/// What came of trying to take a lock.
pub enum Claim {
    /// It is ours as long as this lives; with the note that an earlier holder left, empty where none did.
    Ours(Hold, String),
    /// Another has it; `None` where it does not say who.
    Theirs(Option<Holder>),
}

/// A lock that is ours.
pub struct Hold(Box<dyn Stream>);

/// How often the shell hears from us; three beats may be late.
const BEAT: Duration = Duration::from_secs(8);

/// No answer takes longer; the shell itself waits a second for a run that is just ending.
const PATIENCE: Duration = Duration::from_secs(15);

/// Most bytes of an answer.
const ANSWER: u64 = 4096;

/// `read -t` is not in every shell, `timeout` is wherever we run at all. The child must not inherit the lock.
const SCRIPT: &str = r#"umask 077; d={}; f=$d/{}.lock; n=$f.note; mkdir -p "$d" || exit
command -v flock >/dev/null || { echo missing; exit; }
exec 9>>"$f" || exit
IFS=' .' read -r up rest </proc/uptime
if flock -w 1 9; then
  printf '%s\n' "$up" {} {} {} >"$f"; printf 'ours %s\n' "$(head -n 1 "$n" 2>/dev/null | head -c 256)"
  while beat=$(timeout -s KILL 30 /bin/sh -c 'IFS= read -r beat || exit; printf %s "$beat"' 9>&-); do
    [ -z "$beat" ] || printf '%s\n' "$beat" >"$n"
  done
  : >"$f"
else
  printf 'theirs\n%s\n' "$up"; head -c 1024 "$f"
fi"#;

/// Where locks and notes lie: a reboot, which ends every run, empties it.
const DIRECTORY: &str = "/run/slicer-k3s";

/// Most bytes of a note.
const NOTE: usize = 256;

impl Machine {
    /// The note that whoever held lock `name` last has left, without taking it; empty where there is none.
    pub async fn lock_note(&self, name: &str) -> Result<String> {
        let note = self.read(&format!("{DIRECTORY}/{name}.lock.note")).await?;
        let note = note.unwrap_or_default();
        let first = note.lines().next().unwrap_or_default();
        Ok(first.chars().take(NOTE).collect())
    }

    /// Tries to take lock `name` for `holder`.
    pub async fn claim(&self, name: &str, holder: &Holder) -> Result<Claim> {
        let script = script(DIRECTORY, name, holder);
        let mut stream = self.open(script.text()).await?;
        let failed = |cause: String| {
            Failure::new(
                Code::Command,
                format!("cannot take the cluster's lock on {}", self.name()),
            )
            .because(cause)
            .hint(format!("on {}: ls -l {DIRECTORY}", self.name()))
        };
        let answer = tokio::time::timeout(PATIENCE, answer(&mut stream)).await;
        let answer = answer
            .map_err(|_| failed(format!("no answer within {} s", PATIENCE.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        let mut lines = answer.lines();
        let first = lines.next();
        if let Some(note) = first.and_then(|line| line.strip_prefix("ours ")) {
            return Ok(Claim::Ours(Hold(stream), note.to_owned()));
        }
        match first {
            Some("theirs") => Ok(Claim::Theirs(read_holder(lines))),
            Some("missing") => Err(failed("it has no `flock` (package util-linux)".into())),
            _ => Err(failed("the shell there ended without a word".into())),
        }
    }
}

fn script(directory: &str, name: &str, holder: &Holder) -> Script {
    let Holder {
        mark, who, command, ..
    } = holder;
    Script::new(SCRIPT, &[directory, name, mark, who, command])
}

/// The first line where the lock is ours, for then nothing more comes; else everything.
async fn answer(stream: &mut Box<dyn Stream>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(ANSWER);
    while limited.read_buf(&mut bytes).await? > 0
        && !(bytes.starts_with(b"ours ") && bytes.contains(&b'\n'))
    {}
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The holder's lines: our uptime now, then its uptime when it took the lock, mark, name, command.
fn read_holder<'l>(mut lines: impl Iterator<Item = &'l str>) -> Option<Holder> {
    let now: u64 = lines.next()?.parse().ok()?;
    let since: u64 = lines.next()?.parse().ok()?;
    Some(Holder {
        mark: lines.next()?.to_owned(),
        who: lines.next()?.to_owned(),
        command: lines.next()?.to_owned(),
        seconds: now.saturating_sub(since),
    })
}

impl Hold {
    /// Keeps it, and leaves each of these notes in place of the one before; ends when it is lost.
    pub async fn keep(&mut self, notes: &mut UnboundedReceiver<String>) {
        let mut byte = [0_u8; 1];
        loop {
            tokio::select! {
                // Nothing is ever said: an end or an error is the end of the shell or of the way to it.
                read = self.0.read(&mut byte) => match read {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                },
                Some(note) = notes.recv() => {
                    if self.say(&note).await.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(BEAT) => {
                    if self.say("").await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// One line: a beat where it is empty.
    async fn say(&mut self, line: &str) -> std::io::Result<()> {
        let line = format!("{}\n", line.replace(char::is_control, ""));
        self.0.write_all(line.as_bytes()).await?;
        self.0.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What machines print for us to read: who holds the lock, what a batch of looks found.
    #[test]
    fn fuzz_holder() {
        const SAMPLES: &[&str] = &[
            "1200\n1100\nmark\nme@workstation\ninit\n",
            "ours a note\n",
            "5\n99999999999999999999\n\n\n\n",
        ];
        crate::fuzz::fuzz("holder", SAMPLES, |text| {
            let holder = read_holder(text.lines());
            holder
                .iter()
                .map(|holder| {
                    crate::escape::escape(&format!(
                        "{} {} {}",
                        holder.who, holder.command, holder.seconds
                    ))
                })
                .collect()
        });
    }

    use crate::remote::{Local, Remote as _};

    fn holder(mark: &str) -> Holder {
        Holder {
            mark: mark.into(),
            who: "it's me@laptop".into(),
            command: "slicer-k3s init".into(),
            seconds: 0,
        }
    }

    /// The script with its directory elsewhere, so that the test needs no root.
    async fn claim(directory: &str, mark: &str) -> (String, Box<dyn Stream>) {
        let script = script(directory, "home", &holder(mark));
        let mut stream = Local.open(script.text(), b"").await.unwrap();
        let answer = answer(&mut stream).await.unwrap();
        (answer, stream)
    }

    #[tokio::test]
    async fn the_second_is_told_who_holds_it_and_gets_it_when_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let (first, held) = claim(path, "one").await;
        assert_eq!(first, "ours \n");
        let (second, _) = claim(path, "two").await;
        let told = read_holder(second.lines().skip(1)).unwrap();
        assert_eq!(
            (told.mark.as_str(), told.who.as_str(), told.command.as_str()),
            ("one", "it's me@laptop", "slicer-k3s init")
        );
        assert!(told.seconds < 5);
        drop(held);
        assert_eq!(claim(path, "three").await.0, "ours \n");
    }

    /// What it leaves must not look like a beat, nor a beat like a note.
    #[tokio::test]
    async fn the_next_one_gets_the_note() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let (_, stream) = claim(path, "one").await;
        let mut hold = Hold(stream);
        for line in ["first", "", "it's\nthe second", ""] {
            hold.say(line).await.unwrap();
        }
        drop(hold);
        let begin = std::time::Instant::now();
        loop {
            let (answer, _held) = claim(path, "two").await;
            if answer == "ours it'sthe second\n" {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{answer}");
        }
    }

    #[test]
    fn a_holder_that_wrote_nonsense_is_still_a_holder() {
        assert_eq!(read_holder(["12"].into_iter()), None);
        assert_eq!(read_holder(["12", "x", "m", "w", "c"].into_iter()), None);
    }
}
