//! A file on a machine that we own whole: content, mode and owner.

use crate::failure::Result;
pub(crate) use crate::generate::File;
use crate::pipeline::WritePermit;
use crate::remote::{Machine, Probe, Put};
use crate::secret::sha256;

impl File {
    /// Why the file is not so, or `None` where it is; its content never leaves the machine.
    pub(crate) async fn differs(&self, machine: &Machine) -> Result<Option<String>> {
        let facts = machine.probe(&Probe::FileFacts(self.path.clone())).await?;
        if !facts.ok() {
            return Ok(Some(format!("{} does not exist", self.path)));
        }
        let mut words = facts.stdout.split_whitespace();
        let mode = words.next().unwrap_or_default();
        let owner = words.next().unwrap_or_default();
        let hash = words.nth(1).unwrap_or_default();
        let wanted_mode = self.mode.trim_start_matches('0');
        Ok(if hash != sha256(self.content.as_bytes()) {
            Some(format!("{} has other content", self.path))
        } else if mode != wanted_mode || owner != "0" {
            Some(format!(
                "{} has mode {mode} and owner {owner}, not {wanted_mode} and 0",
                self.path
            ))
        } else {
            None
        })
    }

    /// Writes it, unless it is so already.
    pub(crate) async fn write(&self, machine: &Machine, permit: &WritePermit) -> Result<()> {
        if self.differs(machine).await?.is_none() {
            return Ok(());
        }
        let put = Put {
            path: &self.path,
            mode: self.mode,
            content: self.content.as_bytes(),
        };
        machine.put(permit, &put).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, machine};

    fn file() -> File {
        File {
            path: "/etc/x".into(),
            mode: "0600",
            content: "abc".into(),
            secret: false,
        }
    }

    #[tokio::test]
    async fn content_mode_and_owner_all_count() {
        let hash = sha256(b"abc");
        for (facts, same) in [
            (format!("600 0 0\n{hash}  -\n"), true),
            (format!("644 0 0\n{hash}  -\n"), false),
            (format!("600 1000 0\n{hash}  -\n"), false),
            ("600 0 0\nbeef  -\n".to_owned(), false),
        ] {
            let machine = machine("m", Fake::new().says("stat", &facts));
            assert_eq!(
                file().differs(&machine).await.unwrap().is_none(),
                same,
                "{facts}"
            );
        }
    }
}
