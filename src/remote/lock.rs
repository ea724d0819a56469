//! A lock on a machine, held by a shell there for as long as it hears from us: it ends with the channel, or when the
//! channel has been silent for half a minute. Nobody's clock is asked: "since" is counted by the machine's uptime.
//! The next holder is told which run held it last. The shell also writes a file for its holder: what is written there is
//! written under the lock.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

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
pub enum Acquired {
    /// It is ours as long as this lives.
    Ours(LockGuard, Previous),
    /// Another has it; `None` where it does not say who.
    Theirs(Option<Holder>),
}

/// What was previous where a lock was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Previous {
    /// The mark of the run that held it last; empty where none did since the machine booted.
    pub last: String,
    /// The note that lies there.
    pub note: Option<String>,
}

/// A lock that is ours.
pub struct LockGuard(Box<dyn Stream>);

/// A text to write into the lock's file for notes, and who waits until it is there.
pub struct NoteToWrite {
    /// One line.
    pub text: String,
    /// Told once it is written; dropped where it cannot be.
    pub written: oneshot::Sender<()>,
}

/// How often the shell hears from us; three beats may be late.
const BEAT: Duration = Duration::from_secs(8);

/// Seconds after which a shell that does not answer is given up: it ends by itself then.
const SILENCE: u64 = 30;

/// No answer takes longer; the shell itself waits a second for a run that is just ending.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Most bytes of an answer.
const ANSWER: u64 = 16384;

/// `read -t` is not in every shell, `timeout` is wherever we run at all. The child must not inherit the lock.
const SCRIPT: &str = r#"umask 077; d={}; f=$d/{}.lock; n={}; mkdir -p "$d" || exit
command -v flock >/dev/null || { echo missing; exit; }
exec 9>>"$f" || exit
IFS=' .' read -r up rest </proc/uptime
if flock -w 1 9; then
  last=$(sed -n 2p "$f" 2>/dev/null | head -c 64)
  printf '%s\n' "$up" {} {} {} >"$f"; printf 'ours %s\n' "$last"
  if w=$(LC_ALL=C stat -c %n -- "$n" 2>&1); then printf 'note %s\n' "$(head -c 12000 "$n" | tr -d '\n')"
  else case $w in *'No such file or directory') echo none ;; *) echo 'note ' ;; esac; fi
  while beat=$(timeout -s KILL 30 /bin/sh -c 'IFS= read -r beat || exit; printf %s "$beat"' 9>&-); do
    [ -n "$beat" ] || { echo; continue; }
    (umask 022; mkdir -p "${n%/*}") && printf '%s\n' "$beat" >"$n.new" && sync "$n.new" && mv -f "$n.new" "$n" && echo noted || echo failed
  done
else
  printf 'theirs\n%s\n' "$up"; head -c 1024 "$f"
fi"#;

/// What the shell answers once a note is written.
const WRITTEN: &[u8] = b"noted";

/// Where locks lie: a reboot, which ends every run, empties it.
const DIRECTORY: &str = "/run/slicer-k3s";

impl Machine {
    /// Tries to take lock `name` for `holder`, whose notes go to the file `notes`.
    pub async fn claim(&self, name: &str, notes: &str, holder: &Holder) -> Result<Acquired> {
        let script = script(DIRECTORY, name, notes, holder);
        let mut stream = self.open(script.text()).await?;
        let failed = |cause: String| {
            Failure::new(
                Code::Command,
                format!("cannot take the cluster's lock on {}", self.name()),
            )
            .because(cause)
            .hint(format!("on {}: ls -l {DIRECTORY}", self.name()))
        };
        let answer = tokio::time::timeout(TIMEOUT, answer(&mut stream)).await;
        let answer = answer
            .map_err(|_| failed(format!("no answer within {} s", TIMEOUT.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        let mut lines = answer.lines();
        let first = lines.next();
        if let Some(previous) = read_previous(&answer) {
            return Ok(Acquired::Ours(LockGuard(stream), previous));
        }
        match first {
            Some("theirs") => Ok(Acquired::Theirs(read_holder(lines))),
            Some("missing") => Err(failed("it has no `flock` (package util-linux)".into())),
            _ => Err(failed("the shell there ended without a word".into())),
        }
    }
}

fn script(directory: &str, name: &str, notes: &str, holder: &Holder) -> Script {
    let Holder {
        mark, who, command, ..
    } = holder;
    Script::new(SCRIPT, &[directory, name, notes, mark, who, command])
}

/// Two lines where the lock is ours, for then nothing more comes; else everything.
async fn answer(stream: &mut Box<dyn Stream>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(ANSWER);
    let whole = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').nth(2).is_some();
    while limited.read_buf(&mut bytes).await? > 0 && !(bytes.starts_with(b"ours ") && whole(&bytes))
    {
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is told of a lock that is ours.
fn read_previous(answer: &str) -> Option<Previous> {
    let mut lines = answer.lines();
    let last = lines.next()?.strip_prefix("ours ")?.to_owned();
    let note = lines.next()?;
    Some(Previous {
        last,
        note: match note {
            "none" => None,
            note => Some(note.strip_prefix("note ")?.to_owned()),
        },
    })
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

impl LockGuard {
    /// Keeps it, and leaves each of these notes in place of the one before; ends when it is lost, or the shell has been silent
    /// for too long. `alive` hears of each answer of the shell when, by `clock` in seconds, that was asked for: the lock was ours
    /// then.
    pub async fn keep(
        &mut self,
        notes: &mut UnboundedReceiver<NoteToWrite>,
        clock: impl Fn() -> u64,
        alive: impl Fn(u64),
    ) {
        let mut byte = [0_u8; 1];
        let mut line = Vec::new();
        // Each line that is sent is answered by one: who waits for it, if anyone.
        let mut asked: VecDeque<(u64, Option<oneshot::Sender<()>>)> = VecDeque::new();
        loop {
            tokio::select! {
                read = self.0.read(&mut byte) => match read {
                    Ok(1..) if byte[0] == b'\n' => {
                        let Some((sent, waits)) = asked.pop_front() else {
                            // No answer to anything: what is there is not our shell any more.
                            return;
                        };
                        alive(sent);
                        if line == WRITTEN && let Some(written) = waits {
                            // Who asked may have given up.
                            let _ = written.send(());
                        }
                        line.clear();
                    }
                    Ok(1..) if line.len() < WRITTEN.len() + 1 => line.push(byte[0]),
                    Ok(1..) => {}
                    // The end of the shell, or of the way to it.
                    Ok(0) | Err(_) => return,
                },
                Some(note) = notes.recv() => {
                    if self.say(&note.text).await.is_err() {
                        return;
                    }
                    asked.push_back((clock(), Some(note.written)));
                }
                () = tokio::time::sleep(BEAT) => {
                    let silent = asked.front().map(|(sent, _)| clock().saturating_sub(*sent));
                    if silent.is_some_and(|silent| silent >= SILENCE) {
                        return;
                    }
                    if self.say("").await.is_err() {
                        return;
                    }
                    asked.push_back((clock(), None));
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

    /// What machines print for us to read: who holds the lock, what a batch of looks previous.
    #[test]
    fn fuzz_holder() {
        const SAMPLES: &[&str] = &[
            "1200\n1100\nmark\nme@workstation\ninit\n",
            "ours a mark\nnote {}\n",
            "5\n99999999999999999999\n\n\n\n",
        ];
        crate::fuzz::fuzz("holder", SAMPLES, |text| {
            let previous = read_previous(text);
            assert!(previous.is_none_or(|previous| previous.last.len() <= text.len()));
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
        let notes = format!("{directory}/last-run.d/home.json");
        let script = script(directory, "home", &notes, &holder(mark));
        let mut stream = Local.open(script.text(), b"").await.unwrap();
        let answer = answer(&mut stream).await.unwrap();
        (answer, stream)
    }

    #[tokio::test]
    async fn the_second_is_told_who_holds_it_and_gets_it_when_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let (first, held) = claim(path, "one").await;
        assert_eq!(read_previous(&first), Some(Previous::default()));
        let (second, _) = claim(path, "two").await;
        let told = read_holder(second.lines().skip(1)).unwrap();
        assert_eq!(
            (told.mark.as_str(), told.who.as_str(), told.command.as_str()),
            ("one", "it's me@laptop", "slicer-k3s init")
        );
        assert!(told.seconds < 5);
        drop(held);
        // The mark of the run before says whether another one came in between.
        let third = read_previous(&claim(path, "three").await.0).unwrap();
        assert_eq!(third.last, "one");
    }

    /// What is written must not look like a beat, nor a beat like a note; and who writes is told.
    #[tokio::test]
    async fn a_note_is_written_whole_and_only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let (_, stream) = claim(path, "one").await;
        let mut hold = LockGuard(stream);
        let (notes, mut to_write) = tokio::sync::mpsc::unbounded_channel();
        let keeper = tokio::spawn(async move { hold.keep(&mut to_write, || 0, |_| ()).await });
        let file = directory.path().join("last-run.d/home.json");
        for text in ["first", "it's\nthe second"] {
            let (written, heard) = oneshot::channel();
            let text = text.to_owned();
            assert!(notes.send(NoteToWrite { text, written }).is_ok());
            heard.await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "it'sthe second\n");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        keeper.abort();
        let _ = keeper.await;
        let begin = std::time::Instant::now();
        loop {
            let (answer, _held) = claim(path, "two").await;
            if let Some(previous) = read_previous(&answer) {
                assert_eq!(previous.note.as_deref(), Some("it'sthe second"));
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
