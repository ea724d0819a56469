//! The state of a systemd unit.

use crate::failure::Result;
use crate::remote::{Look, Machine};
use crate::secret::sha256;

/// What `systemctl show` tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// `active`, `activating`, `inactive`, `failed`.
    pub(super) active: String,
    /// `running`, `auto-restart`, `dead`, ….
    pub(super) sub: String,
    /// `enabled`, `disabled`; empty where there is no such unit.
    pub(super) file: String,
    /// How often systemd restarted it by itself.
    pub(super) restarts: u32,
}

impl Unit {
    /// Asks.
    pub(super) async fn look(machine: &Machine, unit: &str) -> Result<Self> {
        let output = machine.look(&Look::Unit(unit.to_owned())).await?;
        Ok(Self::read(&output.stdout))
    }

    fn read(text: &str) -> Self {
        let mut unit = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "ActiveState" => value.clone_into(&mut unit.active),
                "SubState" => value.clone_into(&mut unit.sub),
                "UnitFileState" => value.clone_into(&mut unit.file),
                "NRestarts" => unit.restarts = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        unit
    }

    /// Runs, as far as systemd knows.
    pub(super) fn runs(&self) -> bool {
        self.active == "active" && self.sub == "running"
    }

    /// Starts at boot.
    pub(super) fn enabled(&self) -> bool {
        self.file.starts_with("enabled")
    }

    /// Ended by itself, whether it is to be started anew or not.
    pub(super) fn has_failed(&self) -> bool {
        self.sub == "auto-restart" || self.active == "failed"
    }

    /// Ends again and again.
    pub(super) fn keeps_failing(&self) -> bool {
        self.restarts >= 2 || self.active == "failed"
    }
}

/// What the program itself said, in a unit's journal: never systemd's lines, which name the unit and no cause.
pub(super) fn own_words<'j>(
    journal: &'j str,
    unit: &'j str,
) -> impl DoubleEndedIterator<Item = &'j str> {
    let name = unit.trim_end_matches(".service");
    journal
        .lines()
        .map(str::trim)
        .filter(move |line| !line.is_empty() && !line.contains(name))
}

/// The last line that a unit's program logged; systemd's where it logged nothing.
pub(super) async fn last_words(machine: &Machine, unit: &str) -> Result<String> {
    let look = Look::Journal {
        unit: unit.to_owned(),
        lines: 20,
    };
    let journal = machine.look(&look).await?;
    let own = own_words(&journal.stdout, unit).next_back();
    Ok(own.unwrap_or_else(|| journal.last_words()).to_owned())
}

/// Whether a unit's running process has read one of these configurations. Its environment says so, not times: clocks jump.
pub(super) async fn runs_with(
    machine: &Machine,
    unit: &str,
    configurations: &[String],
) -> Result<bool> {
    let look = Look::RunningConfig(unit.to_owned());
    let has = machine.look(&look).await?.stdout;
    let mut configurations = configurations.iter();
    Ok(configurations.any(|text| has.trim() == sha256(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between two tries the journal ends with systemd's lines, and the cause stands above them.
    #[test]
    fn systemd_is_not_quoted_for_a_cause() {
        let journal = "Started slicer-k3s-cp.service - Slicer.\nError: token is expired\n\
                       slicer-k3s-cp.service: Main process exited, code=exited, status=1/FAILURE\n\
                       slicer-k3s-cp.service: Failed with result 'exit-code'.\n";
        let said: Vec<&str> = own_words(journal, "slicer-k3s-cp.service").collect();
        assert_eq!(said, ["Error: token is expired"]);
    }

    #[test]
    fn systemctl_show_is_read() {
        let unit = Unit::read(
            "ActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled\nNRestarts=3\n",
        );
        assert!(!unit.runs() && unit.enabled() && unit.keeps_failing());
        assert!(!Unit::read("ActiveState=inactive\nUnitFileState=\n").enabled());
    }
}
