//! A server that founded a cluster of its own beside the one that lives: nothing is done to either until one is given up by
//! its server's name.

use anyhow::{Context as _, Result, bail};

use super::super::UNPROVEN;
use super::super::fingerprint::Fingerprint;
use super::super::home::{Home, ONE, says};
use crate::place::Place;

/// By hand, what a lost disk used to lead to.
const FOUND: &str = "set -e
systemctl stop k3s
/usr/local/bin/k3s-killall.sh >/dev/null 2>&1 || :
rm -rf /var/lib/rancher/k3s/server
sed -i '/^server:/d; /^cluster-init:/d' /etc/rancher/k3s/config.yaml
echo 'cluster-init: true' >>/etc/rancher/k3s/config.yaml
timeout 180 systemctl start k3s";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let home = Home::found(&ONE, "two-clusters")?;
    let [first, second, third] = home.servers;
    home.trial.root(first, FOUND)?.expect(0)?;
    if home.keeps(first).is_ok() {
        bail!("{first} is still in the cluster: this tests nothing");
    }
    let hint = format!("init --give-up {first}");
    let before = Fingerprint::of(&home)?;
    let seen = home.trial.me("slicer-k3s status")?;
    says(&seen, &[1, 4], &[first, second, third, &hint]).context("status")?;
    let tried = home.trial.me(UNPROVEN)?;
    says(&tried, &[1], &["two-clusters", first, second, third, &hint]).context("init")?;
    let wrong = home.trial.me(&format!("{UNPROVEN} --give-up k3s-cp-9"))?;
    says(&wrong, &[1, 2], &["k3s-cp-9"]).context("a name that no server has")?;
    before.unchanged(&home)?;

    let given_up = home.trial.me(&format!("{UNPROVEN} --give-up {first}"))?;
    given_up.expect(0)?;
    let aside = "ls -d /var/lib/rancher/k3s/server/db/etcd-old-*";
    let kept = home.trial.root(first, aside)?;
    kept.expect(0).context("its data is not kept aside")?;
    home.settled()
}
