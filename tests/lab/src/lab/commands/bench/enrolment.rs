//! Hosts more: how long it takes, how long nobody scales, and who else was touched.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use super::Work;
use super::figures::Samples;
use super::rounds::{INIT, up};
use super::watch::{Seen, Watch};
use crate::commands::test::{FILES_AND_UNITS, Prints, Trial};
use crate::exec::{command, output};

/// Flags of the command that is measured.
const FLAGS: &str = "--yes --accept-new-host-keys --skip-proof";

/// The last second or so of the old pod is not a gap.
const AUTOSCALER: &str = "cluster-autosca";

fn cluster(trial: &Trial, more: &str) -> Result<()> {
    trial.put_mine("sudo-ryzen", "0600", "correct horse\n")?;
    let text = format!(
        "name = \"home\"\n[control-plane]\nhosts = [\"n100\"]\n[hosts.n100]\nssh = \"alex@192.168.1.11\"\n{more}"
    );
    trial.put_mine("cluster.toml", "0644", &text)?;
    trial.me(INIT)?.expect(0).map(drop)
}

/// One host to a running cluster with an autoscaler.
pub(super) fn add_host(work: &Work, phase: &str, samples: &mut Samples) -> Result<()> {
    let trial = up(work, "three", phase, samples)?;
    cluster(&trial, "[hosts.pi5]\nssh = \"pi@192.168.1.13\"\n")?;
    let others = ["n100", "pi5", "k3s-cp-1", "k3s-cp-2", "k3s-cp-3"];
    let before = Prints::of(&trial, &others, &FILES_AND_UNITS)?;
    let watch = Watch::start(AUTOSCALER);
    let done = trial
        .me(&format!(
            "slicer-k3s add-host ryzen --ssh alex@192.168.1.12 --sudo-password-file '~/sudo-ryzen' --timings {FLAGS}"
        ))?
        .expect(0);
    let seen = watch.stop()?;
    let done = done?;
    crate::say::line(done.stderr.trim_end());
    samples.add("add_host_seconds", done.took.as_secs_f64());
    let touched = before.touched(&Prints::of(&trial, &others, &FILES_AND_UNITS)?);
    for thing in &touched {
        crate::say::line(format_args!("    touched: {thing}"));
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    samples.add("add_host_bystanders", touched.len() as f64);
    samples.add("autoscaler_gap_seconds", gap(&trial, &seen)?);
    Ok(())
}

/// Five hosts at once against one.
pub(super) fn enrol(work: &Work, phase: &str, samples: &mut Samples) -> Result<()> {
    let five = [
        ("ryzen", "alex@192.168.1.12"),
        ("pi5", "pi@192.168.1.13"),
        ("elite", "alex@192.168.1.14"),
        ("thinkcentre", "alex@192.168.1.15"),
        ("minisforum", "alex@192.168.1.16"),
    ];
    for (figure, hosts) in [
        ("enrol_one_seconds", &five[..1]),
        ("enrol_five_seconds", &five[..]),
    ] {
        let trial = up(work, "six", phase, samples)?;
        cluster(&trial, "")?;
        let names: Vec<String> = hosts
            .iter()
            .map(|(name, target)| format!("{name}={target}"))
            .collect();
        let done = trial
            .me(&format!(
                "slicer-k3s add-host {} --sudo-password-file '~/sudo-ryzen' --timings {FLAGS}",
                names.join(" ")
            ))?
            .expect(0)?;
        crate::say::line(done.stderr.trim_end());
        samples.add(figure, done.took.as_secs_f64());
    }
    Ok(())
}

/// From the old autoscaler's end to the moment when the new one has read every group.
fn gap(trial: &Trial, seen: &BTreeMap<u32, Seen>) -> Result<f64> {
    let log = trial
        .me("slicer-k3s kubectl logs --timestamps -n kube-system deployment/slicer-cluster-autoscaler")?
        .expect(0)?;
    let first = log
        .stdout
        .lines()
        .find(|line| line.contains("Registered cleanup signal handler"))
        .and_then(|line| line.split_whitespace().next())
        .context("the autoscaler's log does not tell that it has read its groups")?;
    let told = output(&mut command("date", &["-d", first, "+%s.%N"]))?;
    let began = UNIX_EPOCH + Duration::from_secs_f64(told.trim().parse()?);
    // The newest process is the one that runs; the one before it is the old leader.
    let mut ends: Vec<SystemTime> = seen.values().map(|process| process.last).collect();
    ends.sort();
    ends.pop();
    let old = ends.pop().context("no autoscaler ended")?;
    Ok(began.duration_since(old).unwrap_or_default().as_secs_f64())
}
