//! A host as it comes out of the box: Slicer is installed when the person says so, and never by the way.

use anyhow::{Context as _, Result, bail};

use super::super::trial::{Done, Trial};
use super::{INIT, RERUN, changes_nothing};
use crate::place::Place;

/// The proof is the same steps as in the other scenarios.
const WORDS: &str = "--skip-proof --install-slicer --accept-slicer-licence";

/// A setting of the host's own that the installer overwrites.
const OWN: &str = "SpeedMeter=yes";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("bare", "test-bare", &[])?;
    trial.put_mine(
        "cluster.toml",
        "0644",
        "name = \"home\"\n[control-plane]\nhosts = [\"n100\"]\nservers = 1\n[hosts.n100]\nssh = \"alex@192.168.1.11\"\n",
    )?;
    let settings = format!("[Network]\n{OWN}\n");
    let file = "/etc/systemd/networkd.conf";
    trial.put("n100", file, "0644", settings.as_bytes())?;
    trial
        .root("n100", "systemctl start systemd-networkd")?
        .expect(0)?;

    for (words, hint) in [
        ("", "--install-slicer"),
        ("--install-slicer", "--accept-slicer-licence"),
    ] {
        let refused = trial.me(&format!("{INIT} {words}"))?.expect(1)?;
        says(&refused, hint)?;
    }
    let untouched = "test ! -e /usr/local/bin/slicer && test ! -e /etc/slicer-k3s";
    trial.root("n100", untouched)?.expect(0)?;

    trial
        .as_user(
            "n100",
            "alex",
            "mkdir -p ~/.slicer && echo lab-licence >~/.slicer/LICENSE",
        )?
        .expect(0)?;
    half(&trial).context("an installation that stops half-way")?;
    let done = trial.me(&format!("{INIT} {WORDS}"))?.expect(0)?;
    says(&done, &format!("{file}.before-slicer"))?;
    says(&done, OWN)?;
    let kept = trial.root("n100", &format!("cat {file}.before-slicer"))?;
    if kept.expect(0)?.stdout != settings {
        bail!("what the installer overwrote was not kept");
    }
    let mark = "test ! -e /etc/slicer-k3s/slicer-installing";
    trial.root("n100", mark)?.expect(0)?;
    let nodes = trial.me("slicer-k3s kubectl get nodes")?.expect(0)?;
    if !nodes.stdout.contains(" Ready ") {
        bail!("no Node is Ready:\n{}", nodes.stdout);
    }
    let again = format!("{INIT} --skip-proof");
    changes_nothing(&trial, ("workstation", "me"), &again, RERUN)
}

/// The installer puts the program there and ends: later runs went on with that, and no daemon ever started.
fn half(trial: &Trial) -> Result<()> {
    trial.fault(&["name", "get.slicervm.com", "half"])?;
    let done = trial.me(&format!("{INIT} {WORDS}"))?.expect(1)?;
    says(&done, "lock-frontend")?;
    trial.fault(&["clear"])?;
    let there = "test -x /usr/local/bin/slicer && test ! -e /usr/local/bin/firecracker";
    trial.root("n100", there)?.expect(0)?;
    // It still takes the person's word.
    let refused = trial.me(&format!("{INIT} --skip-proof"))?.expect(1)?;
    says(&refused, "--install-slicer")
}

fn says(done: &Done, words: &str) -> Result<()> {
    if done.text().contains(words) {
        Ok(())
    } else {
        bail!("no word of {words}:\n{}", done.text())
    }
}
