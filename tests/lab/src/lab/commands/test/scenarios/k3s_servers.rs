//! The k3s stand-in's servers do what k3s's do: the checks that k3s itself passed, on a cluster that the product made.

use anyhow::{Result, bail};

use super::super::trial::{Cluster, Trial, script};
use super::UNPROVEN;
use crate::place::Place;

/// Fleet `one` with its servers and workers on the one host.
const CLUSTER_OF_ONE: Cluster = Cluster::of(
    r#"name = "home"
[control-plane]
hosts = ["n100"]
[hosts.n100]
ssh = "alex@192.168.1.11"
"#,
);

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("one", "test-k3s", &[])?;
    CLUSTER_OF_ONE.write(&trial)?;
    trial
        .me(&format!("{UNPROVEN} --accept-new-host-keys"))?
        .expect(0)?;
    // The product's way around a password file that is newer than the datastore: k3s by itself ends there.
    let bare = "rm /etc/systemd/system/k3s.service.d/slicer-k3s-password-file.conf && systemctl daemon-reload";
    for server in ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"] {
        trial.root(server, bare)?.expect(0)?;
    }
    let done = script("tests/lab/conformance/k3s-servers.sh", trial.name())?;
    let failed: Vec<&str> = done
        .stdout
        .lines()
        .filter(|line| !line.starts_with("ok "))
        .collect();
    let passed = done.stdout.lines().count() - failed.len();
    if !failed.is_empty() || done.status != 0 {
        bail!(
            "{passed} checks passed, exit code {}; not these:\n{}\n{}",
            done.status,
            failed.join("\n"),
            done.stderr.trim_end()
        );
    }
    crate::say::line(format_args!("  {passed} checks passed"));
    Ok(())
}
