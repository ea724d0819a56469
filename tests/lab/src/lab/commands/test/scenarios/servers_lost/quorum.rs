//! More servers are lost than a quorum can do without: nothing is done by itself, and what is printed does bring the cluster
//! back from the one that is left. With none left, a new cluster is founded only where that is asked for by its name.

use anyhow::{Context as _, Result};

use super::super::fingerprint::Fingerprint;
use super::super::home::{Home, Layout, ONE, SPREAD, THREE, says};
use super::super::{UNPROVEN, healthy};
use crate::place::Place;

/// On the server that is left: a cluster of this one member with all the data, and no Node of those that are lost.
const RESET: &str = "set -e
systemctl stop k3s
cp -p /etc/rancher/k3s/config.yaml /root/config.yaml
sed -i '/^server:/d' /etc/rancher/k3s/config.yaml
timeout 120 k3s server --cluster-reset
cp -p /root/config.yaml /etc/rancher/k3s/config.yaml
timeout 120 systemctl start k3s
timeout 120 k3s kubectl delete node";

/// Two at once: without the founding server, then with it alone.
pub(super) fn two(_: &Place) -> Result<()> {
    let home = Home::found(&ONE, "lost-two")?;
    let [first, second, third] = home.servers;
    two_of(&home, [first, second], third)?;
    two_of(&home, [second, third], first)
}

fn two_of(home: &Home, lost: [&str; 2], left: &str) -> Result<()> {
    for server in lost {
        home.lose(server)?;
    }
    from_the_one_left(home, lost, left).with_context(|| format!("{lost:?} lost their disks"))
}

fn from_the_one_left(home: &Home, lost: [&str; 2], left: &str) -> Result<()> {
    let before = Fingerprint::of(home)?;
    let printed = [left, "k3s server --cluster-reset", lost[0], lost[1]];
    let seen = home.trial.me("slicer-k3s status")?;
    says(&seen, &[1, 4], &printed).context("status")?;
    before.unchanged(home).context("status")?;
    let tried = home.trial.me(UNPROVEN)?;
    says(&tried, &[1], &printed).context("init")?;
    before.unchanged(home).context("init")?;

    let reset = format!("{RESET} {}", lost.join(" "));
    let by_hand = home.trial.root(left, &reset)?;
    by_hand.expect(0).context("what brings it back, by hand")?;
    home.keeps(left)?;
    home.init()?;
    home.settled()
}

/// All at once.
pub(super) fn all(_: &Place) -> Result<()> {
    none_left(&Home::found(&ONE, "lost-all")?)
}

/// Two, then all, with hosts that have agents only.
pub(super) fn three(_: &Place) -> Result<()> {
    two_then_all(&THREE, "quorum-three")
}

/// Two, then all, with a server on each host.
pub(super) fn spread(_: &Place) -> Result<()> {
    two_then_all(&SPREAD, "quorum-apart")
}

fn two_then_all(layout: &Layout, name: &str) -> Result<()> {
    let home = Home::found(layout, name)?;
    let [first, second, third] = home.servers;
    two_of(&home, [first, second], third)?;
    none_left(&home).context("then all lost theirs")
}

fn none_left(home: &Home) -> Result<()> {
    for server in home.servers {
        home.lose(server)?;
    }
    let [first, second, third] = home.servers;
    let before = Fingerprint::of(home)?;
    let tried = home.trial.me(UNPROVEN)?;
    let words = [first, second, third, "--force-new-cluster=home"];
    says(&tried, &[1], &words)?;
    before.unchanged(home)?;
    // Another cluster's name is a slip of the pen.
    let wrong = home
        .trial
        .me(&format!("{UNPROVEN} --force-new-cluster=house"))?;
    says(&wrong, &[1, 2], &["home"])?;
    before.unchanged(home)?;

    let forced = home
        .trial
        .me(&format!("{UNPROVEN} --force-new-cluster=home"))?;
    forced.expect(0)?;
    healthy(&home.trial)?;
    home.ring()?;
    home.no_drift()?;
    let there = home.trial.me("slicer-k3s kubectl get configmap keep")?;
    says(&there, &[1], &["NotFound"]).context("what only the old cluster had")
}
