//! A lost workstation: cluster.toml and state come back from the hosts alone, and nobody on them notices.

use anyhow::{Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, healthy};
use crate::place::Place;

const IMPORT: &str = "slicer-k3s import alex@192.168.1.11 alex@192.168.1.12 pi@192.168.1.13 \
     --sudo-password-file alex@192.168.1.12=~/sudo-ryzen --yes";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-import", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    let before = standing(&trial)?;

    // A second person, who has the file and no state, gets one clear error.
    let second = trial
        .me(&format!("XDG_STATE_HOME=~/another {INIT}"))?
        .expect(1)?;
    let text = second.text();
    if !text.contains("slicer-k3s import") || text.matches("error[").count() != 1 {
        bail!("not one clear error:\n{text}");
    }

    trial
        .me("mkdir lost && mv cluster.toml .local/state/slicer-k3s lost/")?
        .expect(0)?;
    let part = trial
        .me("slicer-k3s import alex@192.168.1.11 pi@192.168.1.13")?
        .expect(2)?;
    if !part.text().contains("192.168.1.12") || trial.me("ls cluster.toml")?.status == 0 {
        bail!("the third host was not missed:\n{}", part.text());
    }
    // A look writes nothing, and without a terminal nothing is taken for agreed.
    let look = trial.me(&IMPORT.replace("--yes", "--dry-run"))?.expect(3)?;
    let unasked = trial
        .me(&format!("{} </dev/null", IMPORT.replace(" --yes", "")))?
        .expect(1)?;
    for done in [look, unasked] {
        if !done.text().contains("cluster.toml is written") {
            bail!("it does not show what it would write:\n{}", done.text());
        }
        let there = "ls cluster.toml .local/state/slicer-k3s/home/state.json";
        if trial.me(there)?.status == 0 {
            bail!("it was written all the same");
        }
    }
    let done = trial.me(IMPORT)?.expect(0)?;
    crate::say::line(format_args!("  import: {:.1} s", done.took.as_secs_f64()));
    let kept = trial
        .me("cd .local/state/slicer-k3s/home && stat -c %a . state.json kubeconfig && \
             jq -S '.secrets | {server_token, agent_token, ssh_public_key}, .decisions' state.json >new; mv new ~; \
             jq -S '.secrets | {server_token, agent_token, ssh_public_key}, .decisions' ~/lost/slicer-k3s/home/state.json | diff - ~/new")?;
    if kept.text() != "700\n600\n600\n" {
        bail!(
            "modes or content of the state are not as before:\n{}",
            kept.text()
        );
    }
    trial
        .me("slicer-k3s init --dry-run --skip-proof")?
        .expect(0)?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;

    let again = trial.me("slicer-k3s import")?.expect(1)?;
    if !again.text().contains("--force") {
        bail!(
            "a state was overwritten, or no word of --force:\n{}",
            again.text()
        );
    }
    trial
        .me("slicer-k3s import --force --yes && slicer-k3s status")?
        .expect(0)?;
    if standing(&trial)? != before {
        bail!("a VM or a unit was restarted");
    }
    healthy(&trial)
}

/// What must not change: boots of servers, starts of daemons.
fn standing(trial: &Trial) -> Result<String> {
    let mut standing = String::new();
    for server in ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"] {
        let script = "systemctl show -p ExecMainStartTimestampMonotonic k3s; stat -c %Y /proc/1";
        standing += &trial.root(server, script)?.expect(0)?.stdout;
    }
    for host in ["n100", "ryzen", "pi5"] {
        let script = "systemctl show -p MainPID 'slicer-k3s-*'";
        standing += &trial.root(host, script)?.expect(0)?.stdout;
    }
    Ok(standing)
}
