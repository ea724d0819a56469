//! A group whose API fails while the autoscaler removes an agent: the Node goes, the VM stays, and nothing but `init` sees it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_ONE, Trial};
use super::{INIT, UNHURRIED, UNPROVEN, WEB, agents, changes_nothing, items, pod_runs};
use crate::place::Place;
use crate::say;

/// Of the group's API only what deletes a VM fails: the autoscaler lists its VMs before it removes one.
const NO_DELETION: &str = r#"echo '{"mode":"500","path":"/hostgroup/k3s-agent-1/nodes/"}' >/lab/faults/slicer-api-k3s-agent-1.json"#;

const GONE: Duration = Duration::from_mins(5);

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("one", "test-silent", &[])?;
    CLUSTER_OF_ONE.write(&trial)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    trial.me(WEB)?.expect(0)?;
    pod_runs(&trial, "web")?;
    trial.root("n100", NO_DELETION)?.expect(0)?;
    trial
        .me("slicer-k3s kubectl delete deployment web --now")?
        .expect(0)?;
    let begin = Instant::now();
    while !items(&trial, "nodes").is_ok_and(|nodes| nodes.len() == 3) {
        if begin.elapsed() > GONE {
            bail!("the autoscaler keeps the Node whose VM it cannot delete");
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    if agents(&trial)? != 1 {
        bail!("the VM went with its Node: the API did not fail");
    }
    trial
        .root("n100", "rm /lab/faults/slicer-api-k3s-agent-1.json")?
        .expect(0)?;
    // As young as it is it may be joining; clocks that are ahead stand for the minutes of waiting.
    trial.me("slicer-k3s status")?.expect(0).context("young")?;
    for machine in ["n100", "k3s-cp-1", "k3s-cp-2", "k3s-cp-3"] {
        trial.fault(&["date", machine, "--seconds", "1000"])?;
    }
    let status = trial.me("slicer-k3s status")?.expect(4)?;
    if !status.stdout.contains("k3s-agent-1-1") {
        bail!("status does not name the VM:\n{}", status.text());
    }
    let done = trial.me(UNPROVEN)?.expect(0)?;
    say::line(format_args!("  init: {:.0} s", done.took.as_secs_f64()));
    if agents(&trial)? != 0 {
        bail!("the VM is still there:\n{}", done.text());
    }
    trial
        .me("slicer-k3s status")?
        .expect(0)
        .context("afterwards")?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}
