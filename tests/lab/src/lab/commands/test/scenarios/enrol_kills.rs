//! An enrolment of four hosts, killed at several moments and followed by the same command, by `init`, or by the removal of
//! one of them: the autoscaler never gets a group that does not answer, and one run later everything is as the file says.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, killed};
use crate::place::Place;

const FILE: &str = r#"name = "home"
[control-plane]
host = "n100"
[hosts.n100]
ssh = "alex@192.168.1.11"
[hosts.ryzen]
ssh = "alex@192.168.1.12"
sudo-password-file = "~/sudo-ryzen"
"#;

const HOSTS: [&str; 4] = ["pi5", "elite", "thinkcentre", "minisforum"];

const ADD: &str = "slicer-k3s add-host pi5=pi@192.168.1.13 elite=alex@192.168.1.14 thinkcentre=alex@192.168.1.15 \
    minisforum=alex@192.168.1.16 --yes --accept-new-host-keys --skip-proof";

/// Removing one of several half-enrolled hosts waits for none of the others.
const REMOVAL: Duration = Duration::from_secs(45);

/// What comes after a kill.
#[derive(Clone, Copy, Debug)]
enum Next {
    Add,
    Init,
    Remove(&'static str),
}

/// Seconds until the kill, and what is done then. From the moment when daemons are described to that of the rollout.
const ROUNDS: [(f64, Next); 5] = [
    (3.0, Next::Add),
    (4.0, Next::Remove("thinkcentre")),
    (5.5, Next::Init),
    (7.0, Next::Remove("pi5")),
    (9.0, Next::Add),
];

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("six", "test-enrol", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.put_mine("cluster.toml", "0644", FILE)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    for (moment, next) in ROUNDS {
        round(&trial, moment, next)
            .with_context(|| format!("killed after {moment} s, then {next:?}"))?;
    }
    Ok(())
}

fn round(trial: &Trial, moment: f64, next: Next) -> Result<()> {
    killed(trial, moment, ADD)?;
    all_answer(trial).context("after the kill")?;
    match next {
        Next::Add => drop(trial.me(ADD)?.expect(0)?),
        Next::Init => {}
        Next::Remove(host) => {
            let done = trial
                .me(&format!("slicer-k3s remove-host {host} --yes"))?
                .expect(0)?;
            if done.took > REMOVAL {
                bail!("the removal took {:.0} s", done.took.as_secs_f64());
            }
            all_answer(trial).context("after the removal")?;
        }
    }
    trial.me(UNPROVEN)?.expect(0)?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    trial.me("slicer-k3s status")?.expect(0)?;
    all_answer(trial).context("at last")?;
    let file = trial.me("cat cluster.toml")?.expect(0)?.stdout;
    for host in HOSTS {
        let there = file.contains(&format!("[hosts.{host}]"));
        if there == matches!(next, Next::Remove(gone) if gone == host) {
            bail!("{host} in the file: {there}");
        }
        if there {
            trial
                .me(&format!("slicer-k3s remove-host {host} --yes"))?
                .expect(0)?;
        }
    }
    Ok(())
}

/// Every group that the autoscaler has can be reached from the servers.
fn all_answer(trial: &Trial) -> Result<()> {
    let urls = "slicer-k3s kubectl get secret -n kube-system cluster-autoscaler-cloud-config \
        -o jsonpath='{.data.cloud-config}' | base64 -d | grep -o 'http://[^\"]*'";
    let urls = trial.me(urls)?.expect(0)?.stdout;
    if urls.trim().is_empty() {
        bail!("the autoscaler has no group");
    }
    for url in urls.lines() {
        let asked = format!(
            "slicer-k3s exec k3s-cp-1 -- curl -s -m 5 -o /dev/null -w %{{http_code}} {url}/hostgroup"
        );
        let code = trial.me(&asked)?.expect(0)?.stdout;
        if code.trim().len() != 3 || code.trim() == "000" {
            bail!("{url} answers {code:?}");
        }
    }
    Ok(())
}
