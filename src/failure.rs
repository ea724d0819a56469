//! What went wrong, on which machine, why, and the next command.
//!
//! Rooms return [`Failure`]; `main` renders it and turns it into an exit code.

use std::fmt;

use crate::named::named;

named! {
    /// Every way the tool can fail; the string form is stable and documented in docs/troubleshooting.md.
    pub enum Code {
        /// The command line or cluster.toml is wrong.
        Config = "config",
        /// cluster.toml asks for something that contradicts what was decided or found.
        PlanConflict = "plan-conflict",
        /// What this workstation has on record contradicts what the hosts hold, or their own record cannot be read.
        RecordConflict = "record-conflict",
        /// A cluster cannot be taken over from what its hosts show.
        Import = "import",
        /// Nobody answered a question that had to be answered, or the answer was no.
        Declined = "declined",
        /// Servers or agents would go down on the way, and that was not allowed.
        Outage = "outage",
        /// Too few servers vote for a restart that keeps etcd's quorum.
        QuorumAtRisk = "quorum-at-risk",
        /// The replacement of a join token has not ended, and has to end first.
        RotationUnfinished = "rotation-unfinished",
        /// A machine's name does not resolve, or nothing answers on its SSH port.
        SshUnreachable = "ssh-unreachable",
        /// The SSH server refused every key or certificate we have.
        SshAuth = "ssh-auth",
        /// A host key is unknown and nobody vouched for it.
        HostKeyUnknown = "host-key-unknown",
        /// A host key differs from the one known, or is revoked.
        HostKeyChanged = "host-key-changed",
        /// The SSH connection ended in mid-command.
        SshLost = "ssh-lost",
        /// The SSH server forbids tunnels.
        SshForward = "ssh-forward",
        /// sudo is missing, or its password is missing or wrong.
        Sudo = "sudo",
        /// The machine lacks something a Slicer host needs.
        HostUnfit = "host-unfit",
        /// A machine holds something of another cluster's or of a person's that stands in the way.
        HostConflict = "host-conflict",
        /// Slicer is not installed and we were not told to install it.
        SlicerMissing = "slicer-missing",
        /// Slicer's licence is missing or not accepted.
        SlicerLicence = "slicer-licence",
        /// Slicer's API does not answer, or answers nonsense.
        SlicerApi = "slicer-api",
        /// Slicer's API refused our token.
        SlicerToken = "slicer-token",
        /// A VM is missing, dead, or has no healthy agent.
        Vm = "vm",
        /// k3s cannot be installed: a download or the install script failed.
        K3sInstall = "k3s-install",
        /// k3s does not become ready.
        K3sStart = "k3s-start",
        /// Servers have newer versions of k3s than was decided, and not all the same.
        K3sVersionsDiffer = "k3s-versions-differ",
        /// Servers hold several clusters, or another one than the one on record.
        TwoClusters = "two-clusters",
        /// Too few servers have, or can be asked for, the cluster's data.
        QuorumLost = "quorum-lost",
        /// No server has the cluster's data any more.
        ClusterLost = "cluster-lost",
        /// A server keeps a cluster in SQLite, where a cluster of several servers needs etcd.
        Sqlite = "sqlite",
        /// The Kubernetes API refused or does not answer.
        Kubernetes = "kubernetes",
        /// A route is missing or a machine cannot be reached through it.
        Route = "route",
        /// The autoscaler does not run, or has not read every group.
        Autoscaler = "autoscaler",
        /// The proof of scaling did not succeed.
        Proof = "proof",
        /// A command on a machine failed.
        Command = "command",
        /// Claims have their data on the disks of VMs that would end.
        LocalData = "local-data",
        /// A local file cannot be read or written.
        LocalFile = "local-file",
        /// Another run holds the cluster's lock.
        Locked = "locked",
        /// The person stopped the run.
        Interrupted = "interrupted",
        /// The system stopped the run.
        Terminated = "terminated",
    }
}

impl Code {
    /// Whether waiting cannot help: a step stops at once instead of using up its timeout.
    pub fn is_permanent(self) -> bool {
        matches!(
            self,
            Self::Config
                | Self::PlanConflict
                | Self::RecordConflict
                | Self::Import
                | Self::Declined
                | Self::Outage
                | Self::QuorumAtRisk
                | Self::RotationUnfinished
                | Self::SshAuth
                | Self::HostKeyUnknown
                | Self::HostKeyChanged
                | Self::SshForward
                | Self::Sudo
                | Self::HostUnfit
                | Self::HostConflict
                | Self::SlicerMissing
                | Self::SlicerLicence
                | Self::LocalData
                | Self::LocalFile
                | Self::K3sVersionsDiffer
                | Self::TwoClusters
                | Self::QuorumLost
                | Self::ClusterLost
                | Self::Sqlite
                | Self::Locked
                | Self::Interrupted
                | Self::Terminated
        )
    }

    /// The process's exit code: 2 for the command line and cluster.toml only, where another word or line is what it takes.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Config | Self::PlanConflict => 2,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            _ => 1,
        }
    }

    /// What to do next about most failures of this kind; nothing where only the one at hand can tell.
    pub fn usual_hint(self) -> Option<&'static str> {
        Some(match self {
            Self::SshUnreachable => "is it on, and does its SSH server run? ssh -v tells more",
            Self::SshLost => "slicer-k3s status tells whether it is up; run again",
            Self::HostKeyUnknown | Self::HostKeyChanged => {
                "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there shows the key it has"
            }
            Self::Sudo => "log in there as SSH does and try sudo -v",
            Self::Vm => "slicer-k3s logs VM --console shows how it booted",
            Self::K3sStart | Self::Kubernetes => {
                "slicer-k3s status tells which servers are up; slicer-k3s logs SERVER what k3s says"
            }
            Self::Route => "slicer-k3s routes tells who needs which",
            Self::Command => "run again; the log has the command's own words",
            Self::LocalFile => {
                "look at its owner and permissions, its directory's, and free space (df -h)"
            }
            Self::Locked => "wait for the other run to end",
            _ => return None,
        })
    }
}

/// Longest cause that is kept, in characters.
const LONGEST_CAUSE: usize = 2000;

/// One failure: code, what, cause, hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which kind of failure.
    pub code: Code,
    /// What could not be done, naming the machine.
    pub what: String,
    /// Why: the machine's own last words, or a sentence of ours.
    pub cause: Option<String>,
    /// The next command or edit.
    pub hint: Option<String>,
    /// Overrides [`Code::is_permanent`] where one occurrence differs from its kind.
    permanent: Option<bool>,
}

impl Failure {
    /// A failure of the given kind; `what` names the machine or file.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            cause: None,
            hint: None,
            permanent: None,
        }
    }

    /// Adds the cause; text from machines is fine: it is bounded here, and rendering escapes it.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        let mut cause = cause.to_string();
        if let Some((end, _)) = cause.char_indices().nth(LONGEST_CAUSE) {
            cause.truncate(end);
            cause.push('…');
        }
        self.cause = Some(cause);
        self
    }

    /// Adds the next command or edit.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the next command or edit where none is given yet.
    #[must_use]
    pub fn or_hint(mut self, hint: impl FnOnce() -> String) -> Self {
        self.hint = self.hint.or_else(|| Some(hint()));
        self
    }

    /// Its own hint, or what usually helps.
    pub fn next(&self) -> Option<&str> {
        self.hint.as_deref().or_else(|| self.code.usual_hint())
    }

    /// Marks this occurrence as one that waiting cannot cure.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.permanent = Some(true);
        self
    }

    /// Whether waiting cannot cure it.
    pub fn is_permanent(&self) -> bool {
        self.permanent.unwrap_or_else(|| self.code.is_permanent())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// All that stands in the way of a command, in the order in which people read it.
pub type Failures = Vec<Failure>;

impl From<Failure> for Failures {
    fn from(failure: Failure) -> Self {
        vec![failure]
    }
}

/// The result of everything that can fail for a reason the user can act on.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that repeats on 1 and stops on 2 stopped for a server that was only coming back.
    #[test]
    fn exit_code_2_is_of_the_command_line_and_cluster_toml_alone() {
        let wrong = Code::ALL.iter().filter(|code| code.exit_code() == 2);
        let names: Vec<&str> = wrong.map(|code| code.name()).collect();
        assert_eq!(names, ["config", "plan-conflict"]);
    }

    /// An answer of 4 MiB on one line went whole into terminal, log and events.
    #[test]
    fn a_cause_is_bounded() {
        let failure = Failure::new(Code::Command, "x").because("ä".repeat(9000));
        assert_eq!(failure.cause.unwrap().chars().count(), LONGEST_CAUSE + 1);
    }

    #[test]
    fn a_failures_own_hint_goes_before_the_usual_one() {
        let lost = Failure::new(Code::SshLost, "the connection to n100 was lost");
        assert!(lost.next().unwrap().starts_with("slicer-k3s status"));
        assert_eq!(lost.hint("look at it").next(), Some("look at it"));
    }
}
