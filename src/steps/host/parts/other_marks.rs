//! What other clusters have decided of a host: two first runs at the same time choose the same groups, networks and ports, and
//! each has only its own cluster's lock. Each writes its mark before it reads the other's, so one of them sees the other at the
//! latest.

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::failure::{Code, Failure, Result};
use crate::plan::{Daemon, Mark, Plan};
use crate::remote::{Machine, Probe};

/// Refuses a host of the plan of which another cluster's mark claims the same.
pub(crate) async fn check(plan: &Plan, host: &str, machine: &Machine) -> Result<()> {
    let said = machine.probe(&Probe::Marks).await?;
    let marks = read(&said.stdout).filter(|_| said.ok()).ok_or_else(|| {
        Failure::new(
            Code::Command,
            format!("cannot read the marks of clusters on {host}"),
        )
        .because(said.last_words())
        .hint(format!("on {host}: ls -l /etc/slicer-k3s"))
    })?;
    for (cluster, mark) in marks {
        if cluster == plan.cluster {
            continue;
        }
        let theirs = mark["daemons"].as_array().into_iter().flatten();
        for other in theirs {
            let clash = plan.daemons_of(host).find_map(|ours| clash(ours, other));
            if let Some(what) = clash {
                let path = Mark::path(&cluster);
                return Err(Failure::new(
                    Code::HostConflict,
                    format!("{host} has {what} in another cluster already, {cluster}"),
                )
                .because(format!("{path} says so: both were decided at about the same time"))
                .hint(format!(
                    "slicer-k3s destroy for one of the two, then init again; where {cluster} is no more, on {host}: sudo rm {path}"
                )));
            }
        }
    }
    Ok(())
}

/// What two daemons on one host cannot both have.
fn clash(ours: &Daemon, other: &Value) -> Option<String> {
    let text = |key: &str| other[key].as_str().unwrap_or_default();
    if text("group") == ours.group {
        return Some(format!("group {}", ours.group));
    }
    if let Ok(cidr) = text("cidr").parse::<Ipv4Net>()
        && (cidr.contains(&ours.cidr) || ours.cidr.contains(&cidr))
    {
        return Some(format!("network {}", ours.cidr));
    }
    // Groups that share a daemon share its port.
    let same = other["api_port"].as_u64() == Some(u64::from(ours.api_port));
    same.then(|| format!("port {}", ours.api_port))
}

/// The marks by their clusters; one that is damaged claims nothing. `None` where the answer did not come whole.
fn read(said: &str) -> Option<Vec<(String, Value)>> {
    let mut lines: Vec<&str> = said.lines().collect();
    if lines.pop() != Some("== end") {
        return None;
    }
    let mut marks: Vec<(&str, String)> = Vec::new();
    for line in lines {
        if let Some(name) = line.strip_prefix("== ") {
            marks.push((name, String::new()));
        } else if let Some((_, text)) = marks.last_mut() {
            text.push_str(line);
        }
    }
    let marks = marks
        .into_iter()
        .filter(|(name, _)| crate::config::check_name(name).is_ok());
    let read = |text: &str| serde_json::from_str(text).unwrap_or_default();
    Some(
        marks
            .map(|(name, text)| (name.to_owned(), read(&text)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::testing::{Fake, machine, plan};

    async fn told(said: &str) -> Option<String> {
        let machine = machine("n100", Fake::new().says("*.json", said));
        let done = check(&plan(), "n100", &machine).await;
        done.err().map(|failure| failure.to_string())
    }

    /// The locks are per cluster: both wrote the same unit, and the second one's daemon took the first one's place.
    #[tokio::test]
    async fn what_another_cluster_has_decided_of_the_host_is_refused() {
        let other = |daemon: &str| {
            format!(
                "== home\n {{}}\n== away\n {{\"daemons\": [{daemon}]}}\n== broken\n {{\n== end\n"
            )
        };
        for (daemon, what) in [
            (
                r#"{"group": "k3s-cp", "cidr": "10.1.0.0/24", "api_port": 1}"#,
                "group k3s-cp",
            ),
            (
                r#"{"group": "a", "cidr": "192.168.137.0/24", "api_port": 1}"#,
                "network",
            ),
            (
                r#"{"group": "a", "cidr": "10.1.0.0/24", "api_port": 8080}"#,
                "port 8080",
            ),
        ] {
            let told = told(&other(daemon)).await.unwrap();
            assert!(told.contains(what) && told.contains("away"), "{told}");
        }
        let apart = r#"{"group": "a", "cidr": "10.1.0.0/24", "api_port": 1}"#;
        assert_eq!(told(&other(apart)).await, None);
        assert_eq!(told("== end\n").await, None);
        assert!(told("").await.unwrap().contains("cannot read"));
    }

    #[test]
    fn the_script_prints_each_mark_below_its_clusters_name() {
        let dir = tempfile::tempdir().unwrap();
        let mark = serde_json::to_string_pretty(&plan().mark("n100")).unwrap();
        fs_err::write(dir.path().join("home.json"), &mark).unwrap();
        fs_err::write(dir.path().join("other.txt"), "x").unwrap();
        let script = Probe::Marks.script();
        let text = script
            .text()
            .replace("/etc/slicer-k3s", &dir.path().display().to_string());
        let done = Command::new("sh").args(["-c", &text]).output().unwrap();
        let marks = read(&String::from_utf8(done.stdout).unwrap()).unwrap();
        assert_eq!(marks.len(), 1);
        assert_eq!(
            (&*marks[0].0, &marks[0].1["host"]),
            ("home", &"n100".into())
        );
    }
}
