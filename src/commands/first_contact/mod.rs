//! `init` without a cluster.toml: by flags, or by a few questions about machines that are looked at meanwhile.

mod pending;
mod propose;
#[cfg(test)]
mod tests;
mod without_file;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::context::key_policy;
use super::missing;
use crate::cli::{Global, Init};
use crate::config::{self, Config, Fresh, FreshHost, Host, Ssh};
use crate::escape::escape;
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures, Result};
use crate::question::{Ask, Terminal};
use crate::remote::Machine;
use crate::{fleet, report};
use pending::Pending;
pub(super) use pending::{CHANGE_THE_FLAGS, First};

/// Machines that were connected on the way, by name: nobody wants to type a password twice.
pub(super) type Known = HashMap<String, Arc<Machine>>;

/// cluster.toml: the one that is there, or a new one. After questions it is written here, since every machine has answered by then;
/// what flags ask for is written by `init`, when the machines have answered and the plan is agreed to. A dry run writes neither.
pub(super) async fn config(global: &Global, options: &Init) -> Result<First, Failures> {
    let path = &global.config;
    if path.exists() {
        let config = super::context::load(global)?;
        let failures = contradictions(&config, options, path);
        return if failures.is_empty() {
            Ok(First {
                config,
                known: Known::new(),
                pending: None,
            })
        } else {
            Err(failures)
        };
    }
    let asks = options.hosts.is_empty();
    let (fresh, known) = if asks {
        asked(global, options, &Terminal).await?
    } else {
        (from_flags(options)?, Known::new())
    };
    let text = fresh.text();
    let config = config::parse(&text, &path.display().to_string()).map_err(of_no_file)?;
    let pending = Pending::new(path.clone(), text);
    if options.making.consent.dry_run {
        pending.show("would be written");
    } else if asks {
        pending.write()?;
    }
    Ok(First {
        config,
        known,
        pending: (!asks).then_some(pending),
    })
}

/// What is wrong with a file that is on no disk: without its lines.
fn of_no_file(problems: Vec<config::Problem>) -> Failures {
    let failures = problems.into_iter().map(|problem| {
        let failure = Failure::new(Code::Config, problem.message);
        match problem.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    });
    failures.collect()
}

/// Flags that say otherwise than the file that is there; flags that say the same are fine: the same command may be run
/// again.
fn contradictions(config: &Config, options: &Init, path: &Path) -> Failures {
    let mut failures = Vec::new();
    let mut differs = |flag: &str, asked: &str, is: String| {
        failures.push(
            Failure::new(
                Code::Config,
                format!(
                    "{} exists, and {flag} {asked} says otherwise",
                    path.display()
                ),
            )
            .because(is)
            .hint(format!("edit {}, or leave {flag} out", path.display())),
        );
    };
    if let Some(name) = options.name.as_ref().filter(|name| **name != config.name) {
        differs(
            "--name",
            name,
            format!("its cluster is called {}", config.name),
        );
    }
    for flag in &options.hosts {
        let (name, target) = flag.split_once('=').unwrap_or((flag, ""));
        let (target, port) = config::split_port(target);
        let host = config.host(name);
        let is = host.and_then(|host| host.port).unwrap_or(22);
        if let Some(port) = port.filter(|port| *port != is) {
            differs("--host", flag, format!("{name} has port {is}, not {port}"));
        }
        match host.map(|host| &host.ssh) {
            Some(ssh) if *ssh == Ssh::of(target) => {}
            Some(Ssh::Target(is)) => differs("--host", flag, format!("{name} is reached by {is}")),
            Some(Ssh::Local) => differs("--host", flag, format!("{name} is this machine")),
            None => differs("--host", flag, format!("it has no host called {name}")),
        }
    }
    let asked = &options.control_plane;
    if !asked.is_empty() && *asked != config.control_plane.hosts {
        let is = config.control_plane.hosts.join(",");
        differs(
            "--control-plane",
            &asked.join(","),
            format!("servers run on {is}"),
        );
    }
    failures
}

/// A file from flags alone; everything that is missing or wrong at once.
fn from_flags(options: &Init) -> Result<Fresh, Failures> {
    let mut failures = Vec::new();
    let mut wrong = |what: String, hint: &str| {
        failures.push(Failure::new(Code::Config, what).hint(hint));
    };
    let mut hosts: Vec<FreshHost> = Vec::new();
    for flag in &options.hosts {
        match flag.split_once('=') {
            Some((name, target)) if !name.is_empty() && !target.is_empty() => {
                let (ssh, port) = config::split_port(target);
                hosts.push(FreshHost {
                    name: name.to_owned(),
                    ssh: ssh.to_owned(),
                    port,
                    ..FreshHost::default()
                });
            }
            _ => wrong(
                format!("--host {flag} is not NAME=[USER@]ADDRESS[:PORT]"),
                "--host n100=alex@192.168.1.11, or --host n100=local",
            ),
        }
    }
    for (n, host) in hosts.iter().enumerate() {
        if hosts[..n].iter().any(|other| other.name == host.name) {
            wrong(
                format!("--host names {} twice", host.name),
                "give every host its own name",
            );
        }
        if let Err((why, _)) = config::check_name(&host.name) {
            wrong(
                format!("--host {}: the name {why}", host.name),
                "--host n100=alex@192.168.1.11",
            );
        }
    }
    let name = options.name.clone().unwrap_or_default();
    if name.is_empty() {
        wrong(
            "--name is missing: what is the cluster called?".to_owned(),
            "--name home",
        );
    }
    let mut control_plane = options.control_plane.clone();
    if control_plane.is_empty() {
        match hosts.as_slice() {
            [only] => control_plane.push(only.name.clone()),
            _ => wrong(
                "--control-plane is missing: which host runs the servers?".to_owned(),
                "--control-plane NAME, or three names separated by commas for a server on each",
            ),
        }
    }
    if failures.is_empty() {
        Ok(Fresh {
            name,
            control_plane,
            hosts,
            ..Fresh::default()
        })
    } else {
        Err(failures)
    }
}

/// A file from answers.
async fn asked(global: &Global, options: &Init, ask: &dyn Ask) -> Result<(Fresh, Known), Failures> {
    let clusters = missing::clusters();
    let nobody = || {
        let path = global.config.display();
        let mut cause = "there is no terminal to ask on, and --host is missing".to_owned();
        if !clusters.is_empty() {
            cause = format!("{cause}; {}", missing::told(&clusters));
        }
        Failure::new(Code::Config, format!("{path} does not exist"))
            .because(cause)
            .hint(
                "slicer-k3s init --name home --host n100=alex@192.168.1.11 --host pi5=pi@192.168.1.13 \
                 --control-plane n100",
            )
    };
    if !clusters.is_empty() {
        report::say(&escape(&format!(
            "This makes another cluster: {}.",
            missing::told(&clusters)
        )));
    }
    let mut machines: Vec<(String, HostFacts)> = Vec::new();
    let mut known = Known::new();
    loop {
        let question = if machines.is_empty() {
            "A machine that runs Slicer, or is to: user@address[:port] (or local)"
        } else {
            "Another one (nothing: no more)"
        };
        let target = ask.line(question, "").await?;
        let target = target.ok_or_else(nobody)?;
        match target.trim() {
            "" if machines.is_empty() => {
                return Err(Failure::new(
                    Code::Declined,
                    "no machine was named; nothing was written",
                )
                .hint("run slicer-k3s init again when one answers")
                .into());
            }
            "" => break,
            target => match look(target, global, &machines).await {
                Ok((machine, facts)) => {
                    report::say(&escape(&format!(
                        "  {}: {}",
                        facts.name,
                        propose::seen(&facts)
                    )));
                    known.insert(facts.name.clone(), Arc::new(machine));
                    machines.push((target.to_owned(), facts));
                }
                // A slip of the finger is corrected on the spot.
                Err(failure) => report::failure(&without_file::failure(failure)),
            },
        }
    }
    let control_plane = match options.control_plane.as_slice() {
        [] => which_hosts(&machines, ask).await?.ok_or_else(nobody)?,
        named => named.to_vec(),
    };
    let name = match &options.name {
        Some(name) => name.clone(),
        None => cluster_name(ask).await?.ok_or_else(nobody)?,
    };
    Ok((propose::file(name.trim(), &machines, control_plane), known))
}

/// Asks for the cluster's name; one that cannot be is asked for again, or everything said before it would be lost.
async fn cluster_name(ask: &dyn Ask) -> Result<Option<String>, Failures> {
    for _ in 0..3 {
        let answer = ask.line("The cluster's name", "home").await;
        let Some(answer) = answer? else {
            return Ok(None);
        };
        let name = answer.trim();
        match config::check_cluster(name) {
            Ok(()) => return Ok(Some(name.to_owned())),
            Err((why, instead)) => {
                let instead = instead.map_or(String::new(), |instead| format!(" ({instead})"));
                report::say(&escape(&format!("The name {name} {why}{instead}.")));
            }
        }
    }
    Err(Failure::new(
        Code::Declined,
        "no cluster name was given; nothing was written",
    )
    .hint("run slicer-k3s init again")
    .into())
}

/// Connects to a machine and looks at it.
async fn look(
    target: &str,
    global: &Global,
    others: &[(String, HostFacts)],
) -> Result<(Machine, HostFacts)> {
    let (ssh, port) = config::split_port(target);
    config::check_ssh(ssh).map_err(|(why, hint)| {
        let failure = Failure::new(Code::Config, format!("{ssh} {why}"));
        failure.hint(hint.unwrap_or_else(|| {
            "alex@192.168.1.11, alex@192.168.1.11:2222, a Host of ~/.ssh/config, or local"
                .to_owned()
        }))
    })?;
    let mut host = Host::new(target, Ssh::of(ssh));
    host.port = port;
    let machine = fleet::one(&host, &key_policy(global)).await?;
    let mut facts = fleet::facts(&machine).await?;
    if let Some((_, twin)) = others
        .iter()
        .find(|(_, other)| !facts.identity.is_empty() && other.identity == facts.identity)
    {
        return Err(Failure::new(
            Code::Config,
            format!("{target} is {}, which is there already", twin.name),
        )
        .hint("name another machine, or nothing"));
    }
    let taken: Vec<&str> = others
        .iter()
        .map(|(_, facts)| facts.name.as_str())
        .collect();
    facts.name = propose::name(&facts.hostname, ssh, &taken);
    Ok((machine.called(&facts.name), facts))
}

/// Asks where the servers are to run, where there is a choice.
async fn which_hosts(
    machines: &[(String, HostFacts)],
    ask: &dyn Ask,
) -> Result<Option<Vec<String>>, Failures> {
    let facts: Vec<HostFacts> = machines.iter().map(|(_, facts)| facts.clone()).collect();
    let Some(proposed) = propose::control_plane(&facts) else {
        return Ok(None);
    };
    if facts.len() == 1 {
        return Ok(Some(vec![proposed.host]));
    }
    let names: Vec<&str> = facts.iter().map(|facts| facts.name.as_str()).collect();
    report::say(&format!(
        "Servers: {} is {}. Three names separated by commas put one server on each, which survives the loss of a machine.",
        proposed.host, proposed.why
    ));
    for _ in 0..3 {
        let question = format!("Which runs the servers? ({})", names.join(", "));
        let answer = ask.line(&question, &proposed.host).await;
        let Some(answer) = answer? else {
            return Ok(None);
        };
        let chosen: Vec<String> = answer
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        if matches!(chosen.len(), 1 | 3 | 5)
            && chosen.iter().all(|name| names.contains(&name.as_str()))
        {
            return Ok(Some(chosen));
        }
        report::say(&escape(&format!(
            "{answer} is not one, three or five of {}.",
            names.join(", ")
        )));
    }
    Err(Failure::new(
        Code::Declined,
        "no control plane was chosen; nothing was written",
    )
    .hint("run slicer-k3s init again")
    .into())
}

/// Writes a new file, its owner's alone where it is `private`; one that came into being meanwhile stays.
pub(super) fn write(path: &Path, text: &str, private: bool) -> Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        // tempfile creates 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(text.as_bytes())?;
        if !private {
            let open = std::fs::Permissions::from_mode(0o644);
            file.as_file().set_permissions(open)?;
        }
        file.persist_noclobber(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| {
        Failure::new(Code::LocalFile, format!("cannot write {}", path.display()))
            .because(error)
            .hint(format!("ls -ld {}", directory.display()))
    })
}
