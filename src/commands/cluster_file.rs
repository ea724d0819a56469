//! cluster.toml as it is and as it is to be.

use std::path::Path;

use crate::config::{self, Config, NewHost};
use crate::failure::{Code, Failure, Failures, Result};
use crate::files;

/// The file, edited in memory until [`ClusterFile::write`].
pub(super) struct ClusterFile<'a> {
    path: &'a Path,
    text: String,
    new: String,
    /// What it says now.
    pub(super) before: Config,
    /// What it will say.
    pub(super) after: Config,
}

impl<'a> ClusterFile<'a> {
    /// Reads it.
    pub(super) fn read(path: &'a Path) -> Result<Self, Failures> {
        let name = path.display().to_string();
        let text = fs_err::read_to_string(path).map_err(|error| {
            Failure::new(Code::LocalFile, format!("cannot read {name}")).because(error)
        })?;
        let before = config::parse(&text, &name).map_err(|problems| {
            let failures = problems.into_iter().map(Failure::from);
            failures.collect::<Vec<_>>()
        })?;
        Ok(Self {
            path,
            new: text.clone(),
            after: before.clone(),
            text,
            before,
        })
    }

    /// With these hosts; one that it names already stays as it is there.
    pub(super) fn add_host(&mut self, hosts: &[NewHost]) -> Result<(), Failures> {
        let hosts: Vec<NewHost> = hosts
            .iter()
            .filter(|host| self.before.host(&host.name).is_none())
            .cloned()
            .collect();
        if !hosts.is_empty() {
            let file = self.path.display().to_string();
            (self.new, self.after) = config::add_host(&self.text, &file, &self.before, &hosts)?;
        }
        Ok(())
    }

    /// Without this host, or only without its agents.
    pub(super) fn remove_host(&mut self, host: &str, agents: bool) -> Result<(), Failures> {
        let file = self.path.display().to_string();
        let change = if agents {
            config::disable_workers
        } else {
            config::remove_host
        };
        (self.new, self.after) = change(&self.text, &file, &self.before, host)?;
        Ok(())
    }

    /// Whether anything is to be written.
    pub(super) fn is_changed(&self) -> bool {
        self.new != self.text
    }

    /// What would be written, for people; empty where nothing would. No line beside it: it may hold a registry's password.
    pub(super) fn diff(&self) -> String {
        let file = self.path.display().to_string();
        similar::TextDiff::from_lines(&self.text, &self.new)
            .unified_diff()
            .context_radius(0)
            .header(&file, &file)
            .to_string()
    }

    /// Writes it, unless it is so already. What somebody else wrote meanwhile is not lost: it is refused.
    pub(super) fn write(&self) -> Result<()> {
        if !self.is_changed() {
            return Ok(());
        }
        if fs_err::read_to_string(self.path).ok().as_deref() != Some(&self.text) {
            return Err(Failure::new(
                Code::LocalFile,
                format!("{} has changed meanwhile", self.path.display()),
            )
            .because("somebody edited it after it was read")
            .hint("run again"));
        }
        files::replace(self.path, self.new.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line before the change was shown as well, whatever it held.
    #[test]
    fn nothing_beside_the_change_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cluster.toml");
        let text = "name = \"home\"\ncontrol-plane.host = \"n100\"\n[hosts.n100]\nssh = \"n100\"\n\
                    [hosts.pi5]\nssh = \"pi5\"\n[k3s.registries.configs.\"a.lan\".auth]\npassword = \"5ecre7\"\n";
        fs_err::write(&path, text).unwrap();
        let mut file = ClusterFile::read(&path).unwrap();
        file.remove_host("pi5", false).unwrap();
        let diff = file.diff();
        assert!(diff.contains("-[hosts.pi5]"), "{diff}");
        assert!(
            !diff.contains("5ecre7") && !diff.contains("registries"),
            "{diff}"
        );
    }
}
