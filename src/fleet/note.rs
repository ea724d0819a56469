//! What the last run that changed something has left on the control plane's hosts for the next one, from whichever
//! workstation: which run it was, by which record of the cluster, and hashes of the tokens. Without secrets; still root's
//! alone, for a token that a person chose may be guessed from its hash.

use std::sync::Arc;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure, Result};
use crate::remote::Machine;

/// The note of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// [`VERSION`] when it was written.
    pub version: u32,
    /// One more than that of the note before: the highest is the newest.
    pub serial: u64,
    /// The run's random id.
    pub run: String,
    /// `user@workstation`.
    pub who: String,
    /// What was run.
    pub command: String,
    /// When, in seconds since 1970 by that workstation's clock: for people.
    pub at: u64,
    /// Of the decisions that it went by.
    pub decisions: String,
    /// SHA-256 of the servers' join token.
    pub server_token: String,
    /// SHA-256 of the agents' join token.
    pub agent_token: String,
    /// When the servers' token was replaced last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_token_replaced: Option<Replaced>,
    /// When the agents' token was replaced last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_token_replaced: Option<Replaced>,
}

/// When and from where a token was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// In seconds since 1970.
    pub at: u64,
    /// `user@workstation`.
    pub who: String,
}

/// The version that is written.
const VERSION: u32 = 1;

/// Most bytes of a note that a machine shows.
const LONGEST: usize = 8192;

/// Runs are not so many: a higher number would make a note the newest for ever.
const MOST: u64 = 1 << 40;

/// Most characters of a text in it.
const LONGEST_TEXT: usize = 200;

/// Only the version: read first, because other versions' fields are not ours to know.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

impl Note {
    /// A note of the version that this program writes, about nothing yet.
    pub fn new(run: String, who: String, command: String, at: u64) -> Self {
        Self {
            version: VERSION,
            serial: 1,
            run,
            who,
            command,
            at,
            decisions: String::new(),
            server_token: String::new(),
            agent_token: String::new(),
            server_token_replaced: None,
            agent_token_replaced: None,
        }
    }

    /// Where the note of a cluster lies on its control plane's hosts.
    pub fn path(cluster: &str) -> String {
        format!("/etc/slicer-k3s/last-run.d/{cluster}.json")
    }

    /// Reads the note of `cluster` as it lies on `machine`, which is not to be trusted.
    pub(super) fn read(machine: &str, cluster: &str, text: &str) -> Result<Self> {
        let path = Self::path(cluster);
        let wrong = |why: String| {
            Failure::new(
                Code::RecordConflict,
                format!("the note of the last run on {machine} cannot be used"),
            )
            .because(why)
        };
        let damaged = || {
            wrong("it is damaged".to_owned()).hint(format!(
                "on {machine}: sudo rm {path}, then slicer-k3s import --force"
            ))
        };
        if text.len() > LONGEST {
            return Err(damaged());
        }
        let header: Header = serde_json::from_str(text).map_err(|_| damaged())?;
        if header.version == 0 || header.version > VERSION {
            return Err(wrong(format!(
                "it has version {}, this program knows {VERSION}: a newer release of slicer-k3s wrote it",
                header.version
            ))
            .hint("use that release, or a newer one"));
        }
        let note: Self = serde_json::from_str(text).map_err(|_| damaged())?;
        let too_long = note.texts().any(|text| text.chars().count() > LONGEST_TEXT);
        if too_long || note.serial > MOST {
            return Err(damaged());
        }
        Ok(note)
    }

    /// What may be shown to people.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let replaced = [&self.server_token_replaced, &self.agent_token_replaced];
        let people = replaced.into_iter().flatten().map(|replaced| &replaced.who);
        people.chain([&self.who, &self.command, &self.run])
    }

    /// The note on a machine; `None` where there is none.
    async fn on(machine: &Machine, cluster: &str) -> Result<Option<Self>> {
        let text = machine.read_if_there(&Self::path(cluster)).await?;
        text.map(|text| Self::read(machine.name(), cluster, &text))
            .transpose()
    }

    /// One line, as it is written.
    pub(super) fn line(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| {
            Failure::new(Code::LocalFile, "cannot write the note of this run").because(error)
        })
    }
}

/// The newest note of a cluster on these machines; `None` where none has one.
pub async fn newest_note<'m>(
    machines: impl IntoIterator<Item = &'m Arc<Machine>>,
    cluster: &str,
) -> Result<Option<Note>> {
    let machines = machines.into_iter();
    let notes = machines.map(|machine| Note::on(machine, cluster));
    let notes: Result<Vec<_>> = join_all(notes).await.into_iter().collect();
    Ok(newest(notes?.into_iter().flatten()))
}

/// The newest of several notes.
pub(super) fn newest(notes: impl Iterator<Item = Note>) -> Option<Note> {
    notes.max_by_key(|note| (note.serial, note.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::stored;

    fn note() -> Note {
        Note::new("ab".into(), "me@here".into(), "init".into(), 1)
    }

    /// An earlier release's note is read by every later one, a later one's by none, and a damaged one is not "none".
    #[test]
    fn a_damaged_or_newer_note_is_refused() {
        let text = serde_json::to_string(&note()).unwrap();
        let read = |text: &str| Note::read("n100", "home", text);
        assert_eq!(read(&text).unwrap(), note());
        let newer = text.replace("\"version\":1", "\"version\":2,\"more\":{}");
        assert!(read(&newer).unwrap_err().to_string().contains("newer"));
        let long = text.replace("me@here", &"x".repeat(300));
        for damaged in ["", "{", "{\"version\":1}", &long, &"x".repeat(9000)] {
            let failure = read(damaged).unwrap_err();
            assert!(failure.to_string().contains("damaged"), "{failure}");
        }
    }

    #[test]
    fn fuzz_note() {
        const SAMPLES: &[&str] = &[
            r#"{"version":1,"serial":3,"run":"ab12","who":"me@here","command":"slicer-k3s init","at":1796000000,
               "decisions":"ff","server_token":"aa","agent_token":"bb","agent_token_replaced":{"at":5,"who":"you@there"}}"#,
        ];
        crate::fuzz::fuzz("note", SAMPLES, |text| {
            let note = Note::read("n100", "home", text).ok();
            note.iter()
                .map(|note| crate::escape::escape(&format!("{} {}", note.who, note.command)))
                .collect()
        });
    }

    #[test]
    fn notes_that_releases_wrote_are_read() {
        let text = stored(&format!("note-v{VERSION}.json"));
        let note = Note::read("n100", "home", &text).unwrap();
        assert_eq!((note.serial, note.who.as_str()), (8, "me@workstation"));
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(&note).unwrap(), written);
    }
}
