//! `slicer-k3s destroy`: nothing of the cluster is left on its hosts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::act::{self, Act};
use super::ask::Name;
use super::consent;
use super::context::{self, StateDir, key_policy};
use super::turn::RunLock;
use crate::cli::{Destroy, Global};
use crate::config::Config;
use crate::escape::escape;
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures, Result};
use crate::fleet::{self, Fleet};
use crate::generate::FORWARDING_PATH;
use crate::question::{Ask as _, Terminal, limited};
use crate::report::say;
use crate::state::State;
use crate::steps::removal::{self, DaemonToRemove, Snapshots};
use crate::world::World;
use crate::{deletion, kubeconfig, steps};

/// Runs it.
pub(super) async fn run(global: &Global, options: Destroy) -> Result<u8, Failures> {
    let started = Instant::now();
    let config = context::load(global)?;
    let home = StateDir::of(&config.name)?;
    if State::open(home.path())?.is_none() {
        return nothing_known(&config, global).await;
    }
    let here = home.begin("destroy", options.consent)?;
    let (mut state, plan) = context::known(&home, &config.name)?;
    let fleet = fleet::connect(&config, &key_policy(global)).await?;
    let (facts, turn) = tokio::join!(
        fleet::survey(&fleet),
        context::turn(here, &fleet, &config, "destroy", &state, Some(&plan))
    );
    let turn = turn?;
    let facts = facts?;
    let remains: Vec<DaemonToRemove> = facts
        .iter()
        .flat_map(|host| {
            removal::remains_on(&config.name, &state.decisions, &host.name, &host.daemons)
        })
        .collect();
    let hosts: Vec<String> = facts.into_iter().map(|host| host.name).collect();
    let absent: Vec<(String, Failure)> = fleet
        .absent
        .into_iter()
        .map(|(name, failure)| (name.clone(), failure.hint(once_back(&name))))
        .collect();
    let unnamed: Vec<String> = plan
        .hosts
        .iter()
        .map(|host| host.name.clone())
        .filter(|name| config.host(name).is_none())
        .collect();
    let world = World::new(plan, state.secrets.clone(), fleet.machines).without(absent.clone());

    let inside = Inside::look(&world).await;
    say(&prospect(
        &config.name,
        &remains,
        &hosts,
        &absent,
        &unnamed,
        &inside,
    ));
    let typed = Name {
        question: &format!("Type the cluster's name ({}) to go on", config.name),
        answer: &config.name,
        declined: Failure::new(Code::Declined, "nothing was removed"),
        wrong: "that is not its name".to_owned(),
        otherwise: "read the list above and run again with --yes",
    };
    consent::typed(options.consent, typed).await?;
    let snapshot = wants_snapshot(&options, &inside).await?;
    if let Some(turn) = &turn {
        turn.record(&mut state).await?;
        state.save(home.path())?;
    }
    // A look takes no snapshot; what it looks for is one of a run that is still to come.
    let run = turn.as_ref().map_or("next", RunLock::run);
    let snapshot = snapshot.then(|| Snapshots::of(home.path(), run));

    let steps = steps::destroy(&world.plan, &hosts, &remains, snapshot);
    let act = Act {
        global,
        command: "destroy",
        started,
        turn: turn.as_ref(),
        absent,
        likely_done: false,
    };
    act.run(&steps, &world).await?;
    if turn.is_none() {
        // Its record here, if nothing else.
        return Ok(act::WOULD_CHANGE);
    }
    // What is gone is put away even where a file of the person's own cannot be changed.
    let forgotten = forget_context(&home);
    let archive = home.archive(&state.id)?;
    drop(turn);
    let changed = forgotten.as_ref().ok().and_then(Option::as_ref);
    say(&stays(&config.name, &hosts, &archive, changed));
    forgotten.map(|_| 0).map_err(Failures::from)
}

/// What to do about a host that is off; one that is gone for good must not keep the cluster alive.
fn once_back(host: &str) -> String {
    format!(
        "switch it on and run slicer-k3s destroy again; if it is gone for good, take [hosts.{host}] out of cluster.toml first"
    )
}

/// Without a state there is nothing to destroy, unless hosts tell otherwise: that is another workstation's cluster.
async fn nothing_known(config: &Config, global: &Global) -> Result<u8, Failures> {
    let name = &config.name;
    let Fleet { machines, absent } = fleet::connect(config, &key_policy(global)).await?;
    let hosts: Vec<String> = machines.keys().cloned().collect();
    let fleet = Fleet {
        machines,
        absent: Vec::new(),
    };
    let facts = fleet::survey(&fleet).await?;
    let ours = |host: &&HostFacts| {
        let mut daemons = host.daemons.iter();
        host.mark(name).is_some() || daemons.any(|daemon| daemon.cluster() == Some(name))
    };
    if let Some(host) = facts.iter().find(ours) {
        return Err(Failure::new(
            Code::RecordConflict,
            format!(
                "{} belongs to a cluster called {name} that this workstation has no record of",
                host.name
            ),
        )
        .because(
            "its tokens and decisions lie in the state directory of the workstation that made it",
        )
        .hint("run slicer-k3s destroy there, or slicer-k3s import here first")
        .into());
    }
    if !absent.is_empty() {
        return Err(absent.into_iter().map(|(_, failure)| failure).collect());
    }
    say(&format!(
        "There is nothing of {name} on {}, and no record of it here.",
        hosts.join(", ")
    ));
    Ok(0)
}

/// What the cluster itself tells, where a server still answers.
#[derive(Default)]
struct Inside {
    answers: bool,
    /// Why nothing is known of it.
    unknown: String,
    nodes: usize,
    /// Volumes that lie on the VMs' own disks, by the claim that uses them.
    volumes: Vec<String>,
}

impl Inside {
    async fn look(world: &World) -> Self {
        let look = async {
            let kubernetes = world.kubernetes().await?;
            let nodes = kubernetes.list_metadata(&["nodes"]).await?.len();
            let volumes = kubernetes.list(&["persistentvolume"]).await?;
            let volumes = deletion::all_local(&volumes);
            Ok::<_, Failure>(Self {
                answers: true,
                unknown: String::new(),
                nodes,
                volumes: volumes.iter().map(|claim| escape(claim)).collect(),
            })
        };
        // A cluster that is half gone already must not hold up its own destruction.
        match limited(Duration::from_secs(30), look).await {
            Ok(Ok(inside)) => inside,
            Ok(Err(failure)) => Self::unknown(failure.to_string()),
            Err(_) => Self::unknown("no server answers".to_owned()),
        }
    }
}

impl Inside {
    fn unknown(why: String) -> Self {
        Self {
            unknown: why,
            ..Self::default()
        }
    }
}

/// What would go.
fn prospect(
    cluster: &str,
    remains: &[DaemonToRemove],
    hosts: &[String],
    absent: &[(String, Failure)],
    unnamed: &[String],
    inside: &Inside,
) -> String {
    let mut text = format!("This removes cluster {cluster} with everything in it:\n");
    for host in hosts {
        let groups: Vec<&str> = remains
            .iter()
            .filter(|daemon| daemon.host == *host)
            .map(|daemon| daemon.group.as_str())
            .collect();
        let groups = if groups.is_empty() {
            "no group".to_owned()
        } else {
            groups.join(", ")
        };
        let _ = writeln!(
            text,
            "  {host}: {groups}, VMs and their disks, routes, marks"
        );
        for daemon in remains.iter().filter(|daemon| daemon.host == *host) {
            if let Some(files) = daemon.kept_files() {
                let _ = writeln!(text, "    but {files} stay: they were not ours");
            }
        }
    }
    for (host, failure) in absent {
        let _ = writeln!(
            text,
            "  {host}: does not answer, and so keeps what it has ({})",
            escape(&failure.to_string())
        );
    }
    for host in unnamed {
        let _ = writeln!(
            text,
            "  {host}: is no longer in cluster.toml, and so keeps what it has"
        );
    }
    if inside.answers {
        let _ = writeln!(text, "  {} Nodes with whatever runs on them", inside.nodes);
    } else {
        let _ = writeln!(
            text,
            "  what runs in the cluster is not known, nor what volumes hold: {}",
            escape(&inside.unknown)
        );
    }
    if !inside.volumes.is_empty() {
        let _ = writeln!(
            text,
            "  WARNING: volumes that lie on the VMs' own disks are lost ({}): {}",
            inside.volumes.len(),
            inside.volumes.join(", ")
        );
    }
    text
}

async fn wants_snapshot(options: &Destroy, inside: &Inside) -> Result<bool> {
    if options.snapshot {
        return Ok(true);
    }
    if !inside.answers || options.consent.yes || options.consent.dry_run {
        return Ok(false);
    }
    let question = "Keep a last snapshot of etcd on this workstation?";
    Ok(Terminal.confirm(question).await?.unwrap_or(false))
}

/// A file of the person's own that was changed.
struct ChangedFile {
    path: PathBuf,
    /// The copy of the file of before.
    before: PathBuf,
}

/// Takes the cluster's entries out of the user's own kubeconfig, where they were merged; that file.
fn forget_context(home: &StateDir) -> Result<Option<ChangedFile>> {
    let Ok(text) = fs_err::read_to_string(home.kubeconfig()) else {
        return Ok(None);
    };
    let ours = kubeconfig::parse(&text, &home.kubeconfig().display().to_string())?;
    let path = kubeconfig::users_file()?;
    let before = kubeconfig::forget_in(&path, &ours)?;
    Ok(before.map(|before| ChangedFile { path, before }))
}

/// What is left, so that nobody has to look for it.
fn stays(
    cluster: &str,
    hosts: &[String],
    archive: &Path,
    kubeconfig: Option<&ChangedFile>,
) -> String {
    let kubeconfig = kubeconfig.map_or_else(String::new, |file| {
        format!(
            "\n  {} lost the cluster's entries (before: {})",
            file.path.display(),
            file.before.display()
        )
    });
    format!(
        "\n{cluster} is gone. What stays:\n\
         \x20 on {hosts}: Slicer itself with its licence and API token, IPv4 forwarding\n\
         \x20   ({FORWARDING_PATH}), and what was backed up as *.before-slicer*\n\
         \x20 here: cluster.toml, and tokens, decisions and snapshot in {archive}{kubeconfig}\n\
         \x20 routes to its VMs on other machines: ip route, ip route delete\n\
         slicer-k3s init makes it anew.",
        hosts = hosts.join(", "),
        archive = archive.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who agrees must know what stays, and what is lost with the VMs.
    #[test]
    fn hosts_that_keep_what_they_have_and_local_volumes_are_told() {
        let remains = [DaemonToRemove {
            host: "n100".into(),
            group: "k3s-cp".into(),
            shares: None,
            adopted: Some(crate::testing::adopted(&crate::testing::plan().daemons[0])),
            served_elsewhere: false,
        }];
        let off = Failure::new(Code::SshUnreachable, "no answer").hint(once_back("pi5"));
        let volume = serde_json::json!({"spec": {
            "hostPath": {"path": "/data"},
            "claimRef": {"namespace": "default", "name": "precious"},
        }});
        let inside = Inside {
            answers: true,
            unknown: String::new(),
            nodes: 3,
            volumes: deletion::all_local(&[volume]),
        };
        let text = prospect(
            "home",
            &remains,
            &["n100".into()],
            &[("pi5".into(), off)],
            &["old".into()],
            &inside,
        );
        for part in [
            "n100: k3s-cp, VMs and their disks",
            "the files of k3s-cp in /home/alex stay",
            "pi5: does not answer, and so keeps what it has (no answer",
            "old: is no longer in cluster.toml, and so keeps what it has",
            "WARNING: volumes that lie on the VMs' own disks are lost (1): default/precious",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(once_back("pi5").contains("take [hosts.pi5] out"));
    }

    /// 5 MB of Nodes read as "no server answers": nothing was told of volumes, and no snapshot was offered.
    #[tokio::test]
    async fn what_a_large_cluster_holds_is_told() {
        let plan = crate::testing::plan();
        let secrets = crate::testing::secrets();
        let api = crate::kubernetes::testing::Api::new("k3s-agents-1", 255, 0, 20_000, 20_000);
        let world = World::new(plan, secrets, [].into());
        world.put_server("k3s-cp-1", api.machine("k3s-cp-1"));
        let inside = Inside::look(&world).await;
        assert_eq!((inside.answers, inside.nodes), (true, 255));
        let bytes: usize = api.asked().iter().map(|one| one.bytes).sum();
        assert!(bytes < 1_000_000, "{bytes}");
    }
}
