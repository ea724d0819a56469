//! What went wrong, on which machine, why, and the next command.
//!
//! Rooms return [`Failure`]; `main` renders it and turns it into an exit code.

use std::fmt;

/// Every way the tool can fail; the string form is stable and documented in docs/troubleshooting.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The command line or cluster.toml is wrong.
    Config,
    /// cluster.toml asks for something that contradicts what was decided or found.
    PlanConflict,
    /// Nobody answered a question that had to be answered, or the answer was no.
    Declined,
    /// A machine's name does not resolve, or nothing answers on its SSH port.
    SshUnreachable,
    /// The SSH server refused every key or certificate we have.
    SshAuth,
    /// A host key is unknown and nobody vouched for it.
    HostKeyUnknown,
    /// A host key differs from the one known, or is revoked.
    HostKeyChanged,
    /// The SSH connection ended in mid-command.
    SshLost,
    /// The SSH server forbids tunnels.
    SshForward,
    /// sudo is missing, or its password is missing or wrong.
    Sudo,
    /// The machine lacks something a Slicer host needs.
    HostUnfit,
    /// Slicer is not installed and we were not told to install it.
    SlicerMissing,
    /// Slicer's licence is missing or not accepted.
    SlicerLicence,
    /// Slicer's API does not answer, or answers nonsense.
    SlicerApi,
    /// Slicer's API refused our token.
    SlicerToken,
    /// A VM is missing, dead, or has no healthy agent.
    Vm,
    /// k3s cannot be installed: a download or the install script failed.
    K3sInstall,
    /// k3s does not become ready.
    K3sStart,
    /// The Kubernetes API refused or does not answer.
    Kubernetes,
    /// A route is missing or a machine cannot be reached through it.
    Route,
    /// The autoscaler does not run, or has not read every group.
    Autoscaler,
    /// The proof of scaling did not succeed.
    Proof,
    /// A command on a machine failed.
    Command,
    /// A local file cannot be read or written.
    LocalFile,
    /// Another run holds the cluster's lock.
    Locked,
    /// The person stopped the run.
    Interrupted,
    /// The system stopped the run.
    Terminated,
}

impl Code {
    /// The stable name, as printed and as accepted by `explain`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::PlanConflict => "plan-conflict",
            Self::Declined => "declined",
            Self::SshUnreachable => "ssh-unreachable",
            Self::SshAuth => "ssh-auth",
            Self::HostKeyUnknown => "host-key-unknown",
            Self::HostKeyChanged => "host-key-changed",
            Self::SshLost => "ssh-lost",
            Self::SshForward => "ssh-forward",
            Self::Sudo => "sudo",
            Self::HostUnfit => "host-unfit",
            Self::SlicerMissing => "slicer-missing",
            Self::SlicerLicence => "slicer-licence",
            Self::SlicerApi => "slicer-api",
            Self::SlicerToken => "slicer-token",
            Self::Vm => "vm",
            Self::K3sInstall => "k3s-install",
            Self::K3sStart => "k3s-start",
            Self::Kubernetes => "kubernetes",
            Self::Route => "route",
            Self::Autoscaler => "autoscaler",
            Self::Proof => "proof",
            Self::Command => "command",
            Self::LocalFile => "local-file",
            Self::Locked => "locked",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// Whether waiting cannot help: a step stops at once instead of using up its patience.
    pub fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::Config
                | Self::PlanConflict
                | Self::Declined
                | Self::SshAuth
                | Self::HostKeyUnknown
                | Self::HostKeyChanged
                | Self::SshForward
                | Self::Sudo
                | Self::HostUnfit
                | Self::SlicerMissing
                | Self::SlicerLicence
                | Self::LocalFile
                | Self::Locked
                | Self::Interrupted
                | Self::Terminated
        )
    }

    /// The process's exit code (design.md, "Exit codes").
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Config | Self::PlanConflict => 2,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            _ => 1,
        }
    }
}

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
    /// Overrides [`Code::is_lasting`] where one occurrence differs from its kind.
    lasting: Option<bool>,
}

impl Failure {
    /// A failure of the given kind; `what` names the machine or file.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            cause: None,
            hint: None,
            lasting: None,
        }
    }

    /// Adds the cause; text from machines is fine, rendering escapes it.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds the next command or edit.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks this occurrence as one that waiting cannot cure.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasting = Some(true);
        self
    }

    /// Whether waiting cannot cure it.
    pub fn is_lasting(&self) -> bool {
        self.lasting.unwrap_or_else(|| self.code.is_lasting())
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

/// The result of everything that can fail for a reason the user can act on.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
