//! Proxies of the servers: set at the first `init`, moved, taken away, and one that an older release left in a file of k3s's own.
//! No proxy listens: what k3s needs is in `no-proxy`.

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_ONE, Trial};
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing};
use crate::place::Place;

const SERVERS: [&str; 3] = ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"];

/// Where k3s's installer and containerd download from.
const REACHED: &str = "no-proxy = [\".k3s.io\", \"github.com\", \".githubusercontent.com\", \".docker.io\", \"docker.io\", \"ghcr.io\", \".github.io\"]\n";

/// The proxy variables of the running k3s.
const RUNS_WITH: &str = "tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value k3s)/environ | grep -E '^HTTPS?_PROXY=' || true";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("one", "proxies", &[])?;
    proxied(&trial, "http://192.168.1.77:3128")?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    all_run_with(&trial, "HTTPS_PROXY=http://192.168.1.77:3128").context("set")?;

    proxied(&trial, "http://192.168.1.88:3128")?;
    changed(&trial).context("moved")?;
    all_run_with(&trial, "HTTPS_PROXY=http://192.168.1.88:3128").context("moved")?;

    CLUSTER_OF_ONE.write(&trial)?;
    changed(&trial).context("taken away")?;
    all_run_with(&trial, "").context("taken away")?;

    // As k3s's install script left it under an older release, beside a configuration that knows of no proxy.
    let left = "echo \"HTTPS_PROXY='http://192.168.1.77:3128'\" >/etc/systemd/system/k3s.service.env; systemctl restart k3s";
    trial.root(SERVERS[1], left)?.expect(0)?;
    let status = trial.me("slicer-k3s status")?.expect(4)?;
    if !status.text().contains("HTTPS_PROXY") {
        bail!("status does not name the variable:\n{}", status.text());
    }
    changed(&trial).context("left by an older release")?;
    all_run_with(&trial, "").context("left by an older release")
}

fn proxied(trial: &Trial, proxy: &str) -> Result<()> {
    let k3s = format!("[k3s]\nhttps-proxy = \"{proxy}\"\n{REACHED}");
    CLUSTER_OF_ONE.write_with(trial, &k3s)
}

/// Servers restart for it, one after the other: shown before, asked about, and nothing is left to change afterwards.
fn changed(trial: &Trial) -> Result<()> {
    let restarts = "k3s-cp-2";
    let look = trial
        .me("slicer-k3s init --dry-run --skip-proof")?
        .expect(3)?;
    let asked = trial
        .me("slicer-k3s init --skip-proof </dev/null")?
        .expect(1)?;
    for done in [look, asked] {
        let text = done.text();
        if !(text.contains("What restarts:") && text.contains(restarts)) {
            bail!("the restarts are not shown:\n{text}");
        }
    }
    trial.me(UNPROVEN)?.expect(0)?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    trial.me("slicer-k3s status")?.expect(0).map(drop)
}

fn all_run_with(trial: &Trial, proxy: &str) -> Result<()> {
    for server in SERVERS {
        let has = trial.root(server, RUNS_WITH)?.expect(0)?.stdout;
        if has.trim() != proxy {
            bail!("k3s on {server} runs with {has:?}, not {proxy:?}");
        }
        let left = "cat /etc/systemd/system/k3s.service.env";
        let left = trial.root(server, left)?.expect(0)?.stdout;
        if !left.is_empty() {
            bail!("{server} has variables of the install script: {left:?}");
        }
    }
    Ok(())
}
