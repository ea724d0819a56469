//! Drop-ins of k3s's unit: what the running process has read, and a password file that never stops a start.

use crate::names::k3s::server;
use crate::secret::sha256;

/// A drop-in of the unit that tells which configuration the running process has read.
pub const DROP_IN_PATH: &str = "/etc/systemd/system/k3s.service.d/slicer-k3s.conf";

/// A drop-in of the unit that removes k3s's password file before each start.
pub const PASSWORD_DROP_IN_PATH: &str =
    "/etc/systemd/system/k3s.service.d/slicer-k3s-password-file.conf";

/// What that one says.
///
/// k3s keeps the file's content in its bootstrap data, too, and does not start where the file is newer than that data:
/// "newer than datastore and could cause a cluster outage" (k3s pkg/cluster/bootstrap.go, `ReconcileBootstrapData`). A
/// changed `agent-token` makes it newer. Where the file is missing k3s writes it again, from its data and config.yaml (k3s
/// pkg/daemons/control/deps/deps.go, `genUsers`).
pub const PASSWORD_DROP_IN: &str = concat!(
    "# Written by slicer-k3s.\n[Service]\nExecStartPre=-/bin/rm -f ",
    server!("/cred/passwd"),
    "\n"
);

/// The drop-in for what a process reads at its start.
pub fn drop_in(reading: &str) -> String {
    let hash = sha256(reading.as_bytes());
    format!("# Written by slicer-k3s.\n[Service]\nEnvironment=SLICER_K3S_CONFIG={hash}\n")
}
