//! `destroy` at the end of a scenario: nothing of the cluster is left on its host, and nobody else works meanwhile.

use anyhow::{Result, bail};

use super::super::trial::Trial;

/// Prints what is left of a cluster on a host; nothing where nothing is.
pub(super) const LEFT: &str = "ls -d /etc/systemd/system/slicer-* /etc/systemd/system/*/slicer-* /var/lib/slicer-k3s /etc/slicer-k3s \
    /usr/local/lib/slicer-k3s /lab/data/vms/*/leader.pid /var/log/slicer/* 2>/dev/null | grep -v slicer-lab; \
    ip -br link | grep '^br'; ip route | grep '^192.168.1[34]'; systemctl --no-legend list-units --all 'slicer-k3s*'; nft list tables | grep slicer-k3s; true";

/// Destroys the cluster while a second person tries to work on it; then there is nothing left, and a second destroy says so.
pub(super) fn destroyed(trial: &Trial, host: &str) -> Result<()> {
    let asked = trial.me("slicer-k3s destroy </dev/null")?.expect(1)?;
    if !asked.text().contains("--yes") {
        bail!("no word of --yes:\n{}", asked.text());
    }
    let done = trial
        .me("(sleep 1.5; XDG_STATE_HOME=~/another slicer-k3s init --yes) >second.log 2>&1 & slicer-k3s destroy --yes --snapshot; \
             status=$?; wait; cat second.log; exit $status")?
        .expect(0)?;
    if !done
        .text()
        .contains("me@workstation has been running slicer-k3s destroy")
    {
        bail!("the second person was not told who works:\n{}", done.text());
    }
    let left = trial.root(host, LEFT)?.expect(0)?;
    if !left.stdout.trim().is_empty() {
        bail!("left on {host}:\n{}", left.stdout);
    }
    let again = trial.me("slicer-k3s destroy")?.expect(0)?;
    if !again.text().contains("There is nothing of home") {
        bail!("a second destroy found something:\n{}", again.text());
    }
    let kept = trial
        .me("cd ~/.local/state/slicer-k3s/.destroyed/home-* && stat -c %a state.json last-snapshot-*; grep -c lab ~/.kube/config")?;
    if kept.stdout != "600\n600\n0\n" {
        bail!(
            "tokens and snapshot were not put aside, or the context is still there: {}",
            kept.text()
        );
    }
    crate::say::line(format_args!("  destroy: {:.1} s", done.took.as_secs_f64()));
    Ok(())
}
