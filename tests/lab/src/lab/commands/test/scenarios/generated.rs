//! `generate` writes what `init` has put on the machines, and `init --dry-run` shows what it would put there.

use anyhow::{Context as _, Result, bail};

use super::super::trial::Trial;
use super::silent;

/// Every generated file lies on its machine, byte by byte; of those with placeholders, all lines that have none.
pub(super) fn same_bytes(trial: &Trial) -> Result<()> {
    let written = trial.me("slicer-k3s generate --out generated")?.expect(0)?;
    let (mut compared, mut private) = (0, 0);
    for path in written.stdout.lines() {
        let facts = trial
            .me(&format!("sha256sum <{path}; stat -c %a {path}"))?
            .expect(0)?;
        let mut words = facts.stdout.split_whitespace();
        let (hash, mode) = (words.next().unwrap_or_default(), words.last());
        private += u32::from(mode == Some("600"));
        let parts: Vec<&str> = path.splitn(4, '/').collect();
        let [_, "hosts" | "servers", machine, file] = parts.as_slice() else {
            continue;
        };
        let there = trial.root(machine, &format!("sha256sum </{file}; stat -c %a /{file}"))?;
        let mut there = there.stdout.split_whitespace();
        let (there_hash, there_mode) = (there.next().unwrap_or_default(), there.last());
        if there_hash != hash || there_mode != mode {
            bail!(
                "{path} is not what {machine} has: {there_hash} {there_mode:?}, not {hash} {mode:?}"
            );
        }
        compared += 1;
    }
    if compared < 10 || private < 4 {
        bail!("only {compared} files were compared, {private} of them private");
    }
    for (here, there) in [
        (
            "grep -v token= generated/cloud-config.toml",
            "slicer-k3s kubectl get secret -n kube-system cluster-autoscaler-cloud-config -o 'jsonpath={.data.cloud-config}' | base64 -d | grep -v token=",
        ),
        (
            "grep -v slicer-k3s.dev/cloud-config generated/values-slicer.yaml",
            "slicer-k3s kubectl get helmchart -n kube-system slicer-cluster-autoscaler -o 'jsonpath={.spec.valuesContent}' | grep -v slicer-k3s.dev/cloud-config",
        ),
    ] {
        let here = trial.me(here)?.expect(0)?.stdout;
        let there = trial.me(there)?.expect(0).context("kubectl")?.stdout;
        if here.trim_end() != there.trim_end() {
            bail!("generated:\n{here}\nin the cluster:\n{there}");
        }
    }
    // Edited by somebody: kept.
    let refused = trial
        .me("echo mine >>generated/devices.json; slicer-k3s generate --out generated")?
        .expect(1)?;
    if !refused.text().contains("devices.json") {
        bail!("the edited file is not named:\n{}", refused.text());
    }
    Ok(())
}

/// A change of cluster.toml that is only looked at.
pub(super) fn shown(trial: &Trial, secrets: &[(String, String)]) -> Result<()> {
    let change = "cp cluster.toml kept.toml; printf '[hosts.n100.workers]\\ncpu = 1\\nmax = 1\\n[k3s]\\nserver-args = { debug = true }\\n' >>cluster.toml";
    trial.me(change)?.expect(0)?;
    let would = trial.me("slicer-k3s init --dry-run")?.expect(3)?;
    silent(&would, secrets)?;
    for words in [
        "-    vcpu: 2",
        "+    vcpu: 1",
        "+max-size=\"1\"",
        "slicer-token=(not shown)",
        "what differs: debug",
    ] {
        if !would.text().contains(words) {
            bail!("the difference does not show {words}:\n{}", would.text());
        }
    }
    trial.me("mv kept.toml cluster.toml")?.expect(0).map(drop)
}
