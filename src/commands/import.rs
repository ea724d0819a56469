//! `slicer-k3s import`: cluster.toml and state of a cluster that is there, from its hosts.

mod by_hand;
mod keep;
mod targets;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::act::{self, Act};
use super::consent::Prospect;
use super::context::StateDir;
use super::turn::{Here, RunLock};
use crate::cli::{Global, Import};
use crate::config::{self, Config};
use crate::escape::escape;
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures, Result};
use crate::fleet::{self, Fleet, Note};
use crate::generate::routes_path;
use crate::import::{self, ClusterFile, Findings, Found, Noted};
use crate::log;
use crate::names::ours::ROOT;
use crate::plan::{Mark, Plan, Role};
use crate::remote::Machine;
use crate::report::say;
use crate::slicer::{ServerFacts, slicer_on};
use crate::state::State;
use crate::step_id::StepName;
use crate::time::unix_time;
use crate::{plan, steps};

/// Runs it.
pub(super) async fn run(global: &Global, options: &Import) -> Result<u8, Failures> {
    let started = Instant::now();
    let path = &global.config;
    let reached = targets::reach(global, options).await?;
    let cluster = cluster(options, &reached)?;
    let home = StateDir::of(&cluster)?;
    spare(&home, options)?;
    let here = home.begin("import", options.consent)?;
    let marked = |host: &targets::Host| host.facts.mark(&cluster).is_some();
    let adopts = !reached.hosts.iter().any(marked) && by_hand::is_likely(&reached);
    let (mut findings, machines) = if adopts {
        by_hand::look(cluster, &reached, options).await?
    } else {
        look(cluster, &reached, options).await?
    };
    let facts: Vec<HostFacts> = findings
        .hosts
        .iter()
        .map(|host| host.facts.clone())
        .collect();
    let fleet = Fleet {
        machines,
        absent: Vec::new(),
    };
    if let Some(failure) = findings.minority() {
        return Err(failure.into());
    }
    let note = fleet::newest_note(fleet.machines.values(), &findings.cluster).await;
    let note = note?;
    findings.noted = note.as_ref().map(|note| Noted {
        who: note.who.clone(),
        server_token: note.server_token.clone(),
        agent_token: note.agent_token.clone(),
    });
    let state = findings.state()?;
    match findings.autoscaler_unknown() {
        Some(failure) if reached.config.is_none() => return Err(failure.into()),
        Some(_) => say(
            "The cluster's API does not answer: the autoscaler's image is looked up again by the next init.",
        ),
        None => {}
    }

    let decide = |config: &Config| {
        let version = state.decisions.k3s_version.as_deref().unwrap_or_default();
        let absent = &reached.absent;
        plan::decide(config, &state.decisions, &facts, absent, version)
    };
    let (text, config) = if let Some(config) = &reached.config {
        (None, config.clone())
    } else {
        let text = rebuild(&findings, decide)?;
        let config = parsed(&text.text, path)?;
        (Some(text), config)
    };
    let plan = decide(&config)?;
    let decisions = plan.decisions(&state.decisions);
    let mut state = State { decisions, ..state };
    let read = (note.as_ref(), findings.runs());
    let turn = turn(here, &fleet, &config, &state, read).await;
    let turn = turn?;
    if let Some(file) = &text {
        keep::may_write(path, file, options.force)?;
    }
    let text_shown = words::show(path, text.as_ref(), &home, &plan);
    let instead = "slicer-k3s import -h tells what else it takes";
    let prospect = Prospect::of(&text_shown, instead);
    prospect.agree(options.consent).await?;
    let Some(turn) = turn else {
        // A state is made each time, with a key of its own.
        return Ok(act::WOULD_CHANGE);
    };
    turn.record(&mut state).await?;
    if let Some(file) = &text {
        keep::cluster_file(path, file, options.force)?;
    }
    let replaced = note.and_then(|note| note.server_token_replaced);
    let until = replaced.map_or_else(unix_time, |replaced| replaced.at);
    keep::state(&home, &mut state, &plan, until)?;
    home.keep_config(path, &config)?;
    let wanted = home.read_only();
    let names = [
        StepName::ServerKey,
        StepName::VmReachable,
        StepName::KubeconfigSaved,
    ];
    let steps = steps::only(&plan, &wanted, &names);
    let world = fleet.world(plan, state.secrets);
    let act = Act {
        global,
        command: "import",
        started,
        turn: Some(&turn),
        absent: fleet.absent,
        likely_done: false,
    };
    act.run(&steps, &world).await?;
    say(&words::last(&world.plan, &home, adopts));
    Ok(0)
}

/// The turn of a run that has this workstation's lock; refused where another one has changed what was `read` before: the last
/// note, and whether the cluster runs.
async fn turn(
    here: Option<Here>,
    fleet: &Fleet,
    config: &Config,
    state: &State,
    (note, runs): (Option<&Note>, bool),
) -> Result<Option<RunLock>> {
    let Some(here) = here else {
        return Ok(None);
    };
    let turn = RunLock::take_over(here, fleet, config, "import", state).await?;
    turn.unchanged(note, runs)?;
    Ok(Some(turn))
}

/// The one cluster that is meant.
fn cluster(options: &Import, reached: &targets::Reached) -> Result<String> {
    if let Some(name) = &options.name {
        return Ok(name.clone());
    }
    if let Some(config) = &reached.config {
        return Ok(config.name.clone());
    }
    let hosts = reached.hosts.iter();
    let names: BTreeSet<&str> = hosts
        .flat_map(|host| &host.facts.marks)
        .map(|(name, _)| name.as_str())
        .collect();
    let mut several = names.iter();
    match (several.next(), several.next()) {
        (Some(only), None) => Ok((*only).to_owned()),
        // As `init` calls a first one.
        (None, _) if by_hand::is_likely(reached) => Ok("home".to_owned()),
        (None, _) => Err(Failure::new(
            Code::Config,
            "none of these machines belongs to a cluster of slicer-k3s",
        )
        .because("there is no mark in /etc/slicer-k3s on any of them")
        .hint("name the hosts of the cluster, or make one: slicer-k3s init")),
        _ => {
            let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
            Err(Failure::new(
                Code::Config,
                format!(
                    "these hosts belong to several clusters: {}",
                    names.join(", ")
                ),
            )
            .hint("say which with --name"))
        }
    }
}

/// A state that is here is worth more than what can be rebuilt.
fn spare(home: &StateDir, options: &Import) -> Result<()> {
    let file = home.state_file();
    if options.force || !file.exists() {
        return Ok(());
    }
    Err(Failure::new(
        Code::LocalFile,
        format!("{} is here already", file.display()),
    )
    .because("it may hold what no host can tell")
    .hint("slicer-k3s init --dry-run goes by it; slicer-k3s import --force replaces it, and keeps a copy"))
}

/// Everything that the machines tell.
async fn look(
    cluster: String,
    reached: &targets::Reached,
    options: &Import,
) -> Result<(Findings, HashMap<String, Arc<Machine>>), Failures> {
    let (mut hosts, mut failures) = (Vec::new(), Vec::new());
    let mut machines: HashMap<String, Arc<Machine>> = HashMap::new();
    for host in &reached.hosts {
        match found(&cluster, host).await {
            Ok(found) => {
                let machine = Arc::clone(&host.machine);
                if machines.insert(found.mark.host.clone(), machine).is_some() {
                    failures.push(
                        Failure::new(
                            Code::Config,
                            format!(
                                "{} is {}, which was named already",
                                host.ssh, found.mark.host
                            ),
                        )
                        .hint("name every host once"),
                    );
                }
                hosts.push(found);
            }
            Err(failure) => failures.push(failure),
        }
    }
    let mut findings = Findings {
        cluster,
        hosts,
        servers: Vec::new(),
        silent: Vec::new(),
        noted: None,
    };
    let missing = findings.missing();
    if failures.is_empty() && !missing.is_empty() && !options.partial {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        failures.push(
            Failure::new(
                Code::Config,
                format!(
                    "{} belongs to {}, too",
                    missing.join(", "),
                    findings.cluster
                ),
            )
            .because("the routes of the hosts that were named say so")
            .hint("name it as well; where it is gone for good, add --partial"),
        );
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    (findings.servers, findings.silent) = servers(&findings, &machines).await?;
    if let Some(failure) = import::in_sqlite(&findings.servers) {
        return Err(failure.into());
    }
    findings.put_in_order();
    Ok((findings, machines))
}

/// One host with all that lies on it.
async fn found(cluster: &str, host: &targets::Host) -> Result<Found> {
    let Some(text) = host.facts.mark(cluster) else {
        return Err(Failure::new(
            Code::Config,
            format!("{} does not belong to {}", host.ssh, escape(cluster)),
        )
        .because("it carries no mark of it")
        .hint(format!("leave {} out", host.ssh)));
    };
    let mark = Mark::read(&host.ssh, cluster, text)?;
    if host.name.as_ref().is_some_and(|name| *name != mark.host) {
        return Err(Failure::new(
            Code::Config,
            format!("{} was enrolled under the name {}", host.ssh, mark.host),
        )
        .hint(format!("{}={}", mark.host, host.ssh)));
    }
    let routes = host
        .machine
        .read(&routes_path(cluster))
        .await?
        .unwrap_or_default();
    let mut keys = Vec::new();
    for daemon in &mark.daemons {
        if daemon.role == Role::ControlPlane {
            let group = &daemon.group;
            let ours = || format!("{ROOT}/{cluster}/{group}/{group}.yaml");
            let own = daemon.adopted.as_ref();
            let file = own.map_or_else(ours, |own| own.file.clone());
            let yaml = host.machine.read(&file).await?.unwrap_or_default();
            let yaml: Value = serde_saphyr::from_str(&yaml).unwrap_or_default();
            keys.extend(import::ssh_keys(&yaml));
        }
    }
    let mut facts = host.facts.clone();
    facts.name.clone_from(&mark.host);
    Ok(Found {
        ssh: host.ssh.clone(),
        sudo_password_file: host.sudo_password_file.clone(),
        facts,
        mark,
        routes,
        keys,
    })
}

/// What the servers were told, and those that did not answer; one that is down is done without as long as another tells.
async fn servers(
    findings: &Findings,
    machines: &HashMap<String, Arc<Machine>>,
) -> Result<(Vec<(String, ServerFacts)>, Vec<String>)> {
    let (mut told, mut silent) = (Vec::new(), Vec::new());
    let mut last = Failure::new(Code::Config, "none of these hosts runs a server")
        .hint("name the hosts of the control plane, too");
    for server in findings.marked_servers() {
        let daemon = findings
            .daemons()
            .find(|daemon| daemon.group == server.group);
        let asked = async {
            let (Some(daemon), Some(machine)) = (daemon, machines.get(&server.host)) else {
                return Ok(None);
            };
            let slicer = slicer_on(machine, daemon).await?;
            slicer.server_facts(&server.name).await.map(Some)
        };
        match asked.await {
            Ok(Some(facts)) => told.push((server.name.clone(), facts)),
            Ok(None) => silent.push(server.name.clone()),
            Err(failure) => {
                log::note(format!("{}: {failure}", server.name));
                silent.push(server.name.clone());
                last = failure;
            }
        }
    }
    if told.is_empty() {
        Err(last)
    } else {
        Ok((told, silent))
    }
}

/// The file's text. What the autoscaler was given beyond our values is seen when there is a plan to compare with.
fn rebuild(
    findings: &Findings,
    decide: impl Fn(&Config) -> Result<Plan, Failures>,
) -> Result<ClusterFile, Failures> {
    let first = import::text(findings, &Default::default())?;
    let Some(known) = findings.autoscaler() else {
        return Ok(first);
    };
    let plan = decide(&parsed(&first.text, Path::new("cluster.toml"))?)?;
    import::text(findings, &known.extras(&plan)).map_err(Failures::from)
}

fn parsed(text: &str, path: &Path) -> Result<Config, Failures> {
    config::parse(text, &path.display().to_string())
        .map_err(|problems| problems.into_iter().map(Failure::from).collect())
}
