//! From bare hosts to a running autoscaler, three ways, and the product's second run.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Work;
use super::figures::Samples;
use super::watch::Watch;
use crate::commands::test::{CLUSTER_OF_ONE, CLUSTER_OF_THREE, Trial};

const FLOOR: &[u8] = include_bytes!("../../../../floor.sh");
const MANUAL: &[u8] = include_bytes!("../../../../manual.sh");

/// What the k3s stand-in is.
const VERSION: &str = "v1.34.4+k3s1";

/// The command that is measured.
pub(super) const INIT: &str = "slicer-k3s init --yes --accept-new-host-keys --skip-proof --timings";

/// The same with the proof that every group scales.
const PROVEN: &str = "slicer-k3s init --yes --accept-new-host-keys --timings";

/// The password of the one host whose sudo asks.
const PASSWORDS: &str = "alex@192.168.1.12 correct horse\n";

/// The step that says so.
const RUNNING: &str = "autoscaler-running/cluster";

/// Runs with nothing to do after each `init`, and looks at the cluster.
const RERUNS: u32 = 3;

/// A fleet with the product and a promotion phase.
pub(super) fn up(work: &Work, fleet: &str, phase: &str, samples: &mut Samples) -> Result<Trial> {
    let trial = Trial::measured(fleet, phase, &work.program)?;
    if fleet == "three" {
        samples.add("lab_up_seconds", trial.up_seconds());
    }
    Ok(trial)
}

/// The last line of a script is its figures.
fn figures(stdout: &str) -> Result<Value> {
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("no figures: {last}"))
}

fn seconds(figures: &Value, name: &str) -> Result<f64> {
    let value = figures[name].as_f64();
    value.with_context(|| format!("{name} is missing: {figures}"))
}

/// The least that it can take.
pub(super) fn floor(work: &Work, phase: &str, samples: &mut Samples) -> Result<()> {
    let trial = up(work, "three", phase, samples)?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.put("workstation", "/usr/local/bin/floor.sh", "0755", FLOOR)?;
    trial.put_mine("sudo-passwords", "0600", PASSWORDS)?;
    // Where the licence is, is one of the answers that `init` has to find.
    let prepare = format!(
        "sed -i 's|^ssh = \"\\(.*\\)@.*|&\\nlicence-file = \"/home/\\1/.slicer/LICENSE\"|' cluster.toml; \
         printf '[k3s]\\nversion = \"{VERSION}\"\\n' >>cluster.toml; slicer-k3s generate --out files >&2; umask 077; \
         jq -r .secrets.ssh_private_key ~/.local/state/slicer-k3s/home/state.json >key"
    );
    trial.me(&prepare)?.expect(0)?;
    let run = format!(
        "FILES=~/files KEY=~/key VERSION={VERSION} SUDO_PASSWORDS=~/sudo-passwords WORKERS='ryzen pi5' \
         HOSTS='n100 alex@192.168.1.11\nryzen alex@192.168.1.12\npi5 pi@192.168.1.13' floor.sh"
    );
    let done = trial.me(&run)?.expect(0)?;
    crate::say::line(done.stderr.trim_end());
    let told = figures(&done.stdout)?;
    samples.add(
        "floor_seconds",
        seconds(&told, "autoscaler_running_seconds")?,
    );
    samples.add("floor_end_seconds", seconds(&told, "all_seconds")?);
    Ok(())
}

/// By hand, without the time to think.
pub(super) fn manual(work: &Work, phase: &str, samples: &mut Samples) -> Result<()> {
    let trial = up(work, "three", phase, samples)?;
    trial.put("workstation", "/usr/local/bin/manual.sh", "0755", MANUAL)?;
    trial.put_mine("sudo-passwords", "0600", PASSWORDS)?;
    let done = trial
        .me("SKIP_TEST=1 SUDO_PASSWORDS=~/sudo-passwords manual.sh")?
        .expect(0)?;
    let told = figures(&done.stdout)?;
    samples.add(
        "manual_seconds",
        seconds(&told, "autoscaler_running_seconds")?,
    );
    Ok(())
}

/// The product; then again with nothing to do; then its proof.
pub(super) fn init(work: &Work, phase: &str, samples: &mut Samples) -> Result<()> {
    let trial = up(work, "three", phase, samples)?;
    CLUSTER_OF_THREE.write(&trial)?;
    let watch = Watch::start("slicer-k3s");
    let done = trial.me(&format!("{INIT} --output ndjson"))?.expect(0);
    let seen = watch.stop()?;
    let done = done?;
    crate::say::line(done.stderr.trim_end());
    samples.add("init_seconds", autoscaler_running(&done.stdout)?);
    samples.add("init_end_seconds", done.took.as_secs_f64());
    let peak = seen.values().map(|process| process.peak_kib).max();
    #[expect(clippy::cast_precision_loss, reason = "no process has 2^52 KiB")]
    samples.add("peak_rss_mib", peak.unwrap_or(0) as f64 / 1024.0);
    for _ in 0..RERUNS {
        let done = trial.me(&format!("{INIT} --output ndjson"))?.expect(0)?;
        samples.add("rerun_seconds", done.took.as_secs_f64());
        samples.add("rerun_changes", changes(&done.stdout)?);
    }
    for _ in 0..RERUNS {
        let done = trial.me("slicer-k3s status")?.expect(0)?;
        samples.add("status_seconds", done.took.as_secs_f64());
    }
    let proof = trial.me("slicer-k3s prove --yes")?.expect(0)?;
    samples.add("proof_seconds", proof.took.as_secs_f64());
    Ok(())
}

/// The product with its proof, from nothing.
pub(super) fn proven(work: &Work, phase: &str, samples: &mut Samples) -> Result<()> {
    let trial = up(work, "three", phase, samples)?;
    CLUSTER_OF_THREE.write(&trial)?;
    let done = trial.me(PROVEN)?.expect(0)?;
    crate::say::line(done.stderr.trim_end());
    samples.add("init_proven_seconds", done.took.as_secs_f64());
    Ok(())
}

/// The product with one host for everything.
pub(super) fn one(work: &Work, phase: &str, samples: &mut Samples) -> Result<()> {
    let trial = up(work, "one", phase, samples)?;
    CLUSTER_OF_ONE.write(&trial)?;
    let done = trial.me(&format!("{INIT} --output ndjson"))?.expect(0)?;
    crate::say::line(done.stderr.trim_end());
    samples.add("init_one_seconds", autoscaler_running(&done.stdout)?);
    samples.add("init_one_end_seconds", done.took.as_secs_f64());
    Ok(())
}

/// When the autoscaler ran and had read every group, from the run's first moment: the end that `manual.sh` has, too.
/// The last servers join etcd behind it, and the command ends with them.
fn autoscaler_running(events: &str) -> Result<f64> {
    let events: Vec<Value> = events
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let before = events
        .iter()
        .find(|event| event["type"] == "run-started")
        .context("the run did not tell its start")?;
    let ended = events
        .iter()
        .find(|event| event["type"] == "step-ended" && event["step"] == RUNNING)
        .context("the run did not tell of the autoscaler")?;
    Ok(seconds(before, "before_seconds")?
        + seconds(ended, "at_seconds")?
        + seconds(ended, "seconds")?)
}

/// How many steps a run changed, by its own events.
fn changes(events: &str) -> Result<f64> {
    let ended = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["type"] == "run-ended");
    match ended.and_then(|event| event["changed"].as_f64()) {
        Some(changed) => Ok(changed),
        None => bail!("the run did not tell how it ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_autoscaler_runs_when_its_step_has_ended() {
        let events = "{\"type\":\"run-started\",\"before_seconds\":0.5}\n{\"type\":\"step-ended\",\"step\":\"autoscaler-running/cluster\",\"at_seconds\":25.0,\"seconds\":16.0}\n";
        assert!((autoscaler_running(events).unwrap() - 41.5).abs() < 1e-9);
        assert!(autoscaler_running("{\"type\":\"run-started\"}\n").is_err());
    }

    #[test]
    fn a_run_that_does_not_tell_its_end_counts_for_nothing() {
        let events = "{\"type\":\"run-started\"}\n{\"type\":\"run-ended\",\"changed\":2}\n";
        assert!((changes(events).unwrap() - 2.0).abs() < 1e-9);
        assert!(changes("{\"type\":\"run-started\"}\n").is_err());
    }
}
