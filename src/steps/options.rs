//! What the person allowed and asked for.

use std::path::PathBuf;

/// What the person allowed and asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the person's own"
)]
pub struct Options {
    /// Install Slicer where it is missing.
    pub install_slicer: bool,
    /// The person accepted Slicer's licence.
    pub accept_slicer_licence: bool,
    /// Restarts that cost workers, reboot servers, stop the only server or lose etcd's quorum are allowed.
    pub allow_outage: bool,
    /// Servers that did not vote when that was allowed: no restart is refused for want of them.
    pub silent: Vec<String>,
    /// Data on the disks of VMs that end may go.
    pub delete_local_data: bool,
    /// This workstation gets a route to the control plane.
    pub workstation_route: bool,
    /// The cluster's state directory on the workstation.
    pub state: PathBuf,
    /// Where the cluster's kubeconfig is kept on the workstation.
    pub kubeconfig: PathBuf,
    /// The proof of scaling, unless skipped.
    pub proof: Option<Proof>,
}

impl Options {
    /// Those of a command that is asked for nothing that costs anything.
    pub fn read_only(state: PathBuf, kubeconfig: PathBuf) -> Self {
        Self {
            state,
            install_slicer: false,
            accept_slicer_licence: false,
            allow_outage: false,
            silent: Vec::new(),
            delete_local_data: false,
            workstation_route: false,
            kubeconfig,
            proof: None,
        }
    }
}

/// How to prove scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Pods to start in each group.
    pub pods: u32,
    /// Prove again what was proven before.
    pub again: bool,
}
