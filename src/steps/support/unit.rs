//! The state of a systemd unit.

use crate::failure::Result;
use crate::remote::{Machine, Probe, Start, since, starts};

/// The state of a unit that has started, in systemd's words.
///
/// Source: org.freedesktop.systemd1(5), "Properties" of units (`ActiveState`) and of services (`Result`), as for all other words
/// here; systemctl(1), "show".
pub(crate) const ACTIVE: &str = "active";

/// What `systemctl show` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    /// `active`, `activating`, `inactive`, `failed`.
    pub(crate) active: String,
    /// `running`, `auto-restart`, `dead`, ….
    pub(crate) sub: String,
    /// `enabled`, `disabled`; empty where there is no such unit.
    pub(crate) file: String,
    /// Whether its files have changed since systemd read them.
    pub(crate) unread: bool,
    /// How often systemd restarted it by itself.
    pub(crate) restarts: u32,
    /// Where its program works, where systemd says so.
    pub(crate) works: Option<String>,
    /// The id of its current start, or of its last one where none is running.
    invocation: String,
    /// How that start ended, in systemd's words: `success`, `exit-code`, `signal`, `oom-kill`, ….
    result: String,
    /// The exit status, or the signal's number.
    status: String,
}

impl Unit {
    /// Asks.
    pub(crate) async fn look(machine: &Machine, unit: &str) -> Result<Self> {
        let output = machine.probe(&Probe::Unit(unit.to_owned())).await?;
        Ok(Self::read(&output.stdout))
    }

    fn read(text: &str) -> Self {
        let mut unit = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "ActiveState" => value.clone_into(&mut unit.active),
                "SubState" => value.clone_into(&mut unit.sub),
                "UnitFileState" => value.clone_into(&mut unit.file),
                "NeedDaemonReload" => unit.unread = value == "yes",
                "NRestarts" => unit.restarts = value.parse().unwrap_or(0),
                "InvocationID" => value.clone_into(&mut unit.invocation),
                // `!` says that the directory may be missing.
                "WorkingDirectory" => unit.works = Some(value.trim_start_matches('!').to_owned()),
                "Result" => value.clone_into(&mut unit.result),
                "ExecMainStatus" => value.clone_into(&mut unit.status),
                _ => {}
            }
        }
        unit
    }

    /// Runs, as far as systemd knows.
    pub(crate) fn runs(&self) -> bool {
        self.active == ACTIVE && self.sub == "running"
    }

    /// Whether systemd knows a unit of this name: it has a file, or runs.
    pub(crate) fn is_known(&self) -> bool {
        !self.file.is_empty() || !matches!(self.active.as_str(), "" | "inactive")
    }

    /// Starts at boot.
    pub(crate) fn enabled(&self) -> bool {
        self.file.starts_with("enabled")
    }

    /// Ended by itself, whether it is to be started anew or not.
    pub(crate) fn has_failed(&self) -> bool {
        self.sub.starts_with("auto-restart") || self.active == "failed"
    }

    /// How often it has ended since somebody started it.
    pub(crate) fn ends(&self) -> u32 {
        // A restart that is queued is counted already.
        let uncounted = self.has_failed() && self.sub != "auto-restart-queued";
        self.restarts + u32::from(uncounted)
    }

    /// How its last start ended, in systemd's words; `None` where it runs, or ended without a fault.
    pub(crate) fn end(&self) -> Option<String> {
        let status = &self.status;
        match self.result.as_str() {
            _ if !self.has_failed() => None,
            "" => None,
            "success" => Some(format!("it ended by itself, with exit status {status}")),
            // Its main process never was: it is not its status.
            "exit-code" if status == "0" => {
                Some("a command that its unit runs before it failed".to_owned())
            }
            "exit-code" => Some(format!("it ended with exit status {status}")),
            "signal" | "core-dump" => Some(format!("signal {status} ended it")),
            "oom-kill" => Some("the kernel killed it, as memory ran out".to_owned()),
            "timeout" => Some("it did not start or stop in time".to_owned()),
            other => Some(format!("systemd says {other}")),
        }
    }

    /// What its programs logged, start by start, in the starts that tell of how it is: in its last one where that has
    /// become active or has ended; else, since what is starting now has not said much yet, in all since somebody started
    /// it. Only lines with one of these texts, where any are given.
    pub(crate) async fn starts(
        &self,
        machine: &Machine,
        name: &str,
        lines: u32,
        texts: Vec<&'static str>,
    ) -> Result<Vec<Start>> {
        let probe = Probe::Starts {
            unit: name.to_owned(),
            lines,
            texts,
        };
        let journal = machine.probe(&probe).await?;
        let alone = self.active == ACTIVE || self.has_failed();
        let restarts = if alone { 0 } else { self.restarts };
        Ok(since(&starts(&journal.stdout), &self.invocation, restarts))
    }

    /// The last line that its program logged, else how systemd saw it end.
    pub(crate) async fn last_words(&self, machine: &Machine, name: &str) -> Result<String> {
        let starts = self.starts(machine, name, 60, Vec::new()).await?;
        let said = starts.iter().flat_map(|start| &start.lines);
        let mut said = said.map(|line| line.trim());
        let last = said.rfind(|line| !line.is_empty());
        let last = last.map(str::to_owned).or_else(|| self.end());
        Ok(last.unwrap_or_else(|| "it has not logged anything".to_owned()))
    }

    /// Ends again and again.
    pub(crate) fn keeps_failing(&self) -> bool {
        self.restarts >= 2 || self.active == "failed"
    }
}

/// What the program itself said, in a unit's journal: never systemd's lines, which name the unit and no cause.
pub(crate) fn own_words<'j>(
    journal: &'j str,
    unit: &'j str,
) -> impl DoubleEndedIterator<Item = &'j str> {
    let name = unit.trim_end_matches(".service");
    journal
        .lines()
        .map(str::trim)
        .filter(move |line| !line.is_empty() && !line.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, machine};

    /// Between two tries the journal ends with systemd's lines, and the cause stands above them.
    #[test]
    fn systemd_is_not_quoted_for_a_cause() {
        let journal = "Started slicer-k3s-cp.service - Slicer.\nError: token is expired\n\
                       slicer-k3s-cp.service: Main process exited, code=exited, status=1/FAILURE\n\
                       slicer-k3s-cp.service: Failed with result 'exit-code'.\n";
        let said: Vec<&str> = own_words(journal, "slicer-k3s-cp.service").collect();
        assert_eq!(said, ["Error: token is expired"]);
    }

    #[tokio::test]
    async fn last_words_are_of_the_start_that_ended() {
        let journal = crate::remote::journal(&[("a", "Error: token is expired"), ("b", " ")]);
        let fake = Fake::new().says("journalctl", &journal);
        let host = machine("n100", fake);
        let state = |rest: &str| Unit::read(&format!("ActiveState=activating\n{rest}"));
        let killed = "SubState=auto-restart\nInvocationID=b\nResult=signal\nExecMainStatus=9\n";
        for (unit, words) in [
            (state(killed), "signal 9 ended it"),
            (
                state("SubState=start\nNRestarts=1\nInvocationID=b\n"),
                "Error: token is expired",
            ),
            (
                state("SubState=start\nNRestarts=0\nInvocationID=c\n"),
                "it has not logged anything",
            ),
        ] {
            assert_eq!(unit.last_words(&host, "x").await.unwrap(), words);
        }
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
