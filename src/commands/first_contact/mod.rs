//! `init` without a cluster.toml: by flags, or by a few questions about machines that are looked at meanwhile.

mod propose;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::cli::{Global, Init};
use crate::config::{self, Config, Fresh, FreshHost, Host, Ssh};
use crate::failure::{Code, Failure, Result};
use crate::fleet;
use crate::plan::HostFacts;
use crate::question::{Ask, Terminal};
use crate::remote::Machine;
use crate::report::{self, escape};

/// Machines that were connected on the way, by name: nobody wants to type a password twice.
pub(super) type Known = HashMap<String, Arc<Machine>>;

/// cluster.toml: the one that is there, or a new one.
pub(super) async fn config(
    global: &Global,
    options: &Init,
) -> Result<(Config, Known), Vec<Failure>> {
    let path = &global.config;
    if path.exists() {
        let config = super::context::load(global)?;
        let failures = contradictions(&config, options, path);
        return if failures.is_empty() {
            Ok((config, Known::new()))
        } else {
            Err(failures)
        };
    }
    let (fresh, known) = if options.hosts.is_empty() {
        asked(global, options, &Terminal).await?
    } else {
        (from_flags(options)?, Known::new())
    };
    let text = fresh.text();
    // Read before it is written: a flag may name what no file can.
    config::parse(&text, &path.display().to_string()).map_err(all)?;
    write(path, &text, false).map_err(super::one)?;
    report::say(&format!(
        "{} is written:\n",
        escape(&path.display().to_string())
    ));
    for line in text.lines() {
        report::say(&format!("    {}", escape(line)));
    }
    report::say("");
    Ok((super::context::load(global)?, known))
}

fn all(problems: Vec<config::Problem>) -> Vec<Failure> {
    problems.into_iter().map(Failure::from).collect()
}

/// Flags that say otherwise than the file that is there; flags that say the same are fine: the same command may be run
/// again.
fn contradictions(config: &Config, options: &Init, path: &Path) -> Vec<Failure> {
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
        match config.host(name).map(|host| &host.ssh) {
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
fn from_flags(options: &Init) -> Result<Fresh, Vec<Failure>> {
    let mut failures = Vec::new();
    let mut wrong = |what: String, hint: &str| {
        failures.push(Failure::new(Code::Config, what).hint(hint));
    };
    let mut hosts: Vec<FreshHost> = Vec::new();
    for flag in &options.hosts {
        match flag.split_once('=') {
            Some((name, ssh)) if !name.is_empty() && !ssh.is_empty() => hosts.push(FreshHost {
                name: name.to_owned(),
                ssh: ssh.to_owned(),
                ..FreshHost::default()
            }),
            _ => wrong(
                format!("--host {flag} is not NAME=[USER@]ADDRESS"),
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
async fn asked(
    global: &Global,
    options: &Init,
    ask: &dyn Ask,
) -> Result<(Fresh, Known), Vec<Failure>> {
    let nobody = || {
        let path = global.config.display();
        super::one(
            Failure::new(Code::Config, format!("{path} does not exist"))
                .because("there is no terminal to ask on, and --host is missing")
                .hint(
                    "slicer-k3s init --name home --host n100=alex@192.168.1.11 --host pi5=pi@192.168.1.13 --control-plane n100",
                ),
        )
    };
    let mut machines: Vec<(String, HostFacts)> = Vec::new();
    let mut known = Known::new();
    loop {
        let question = if machines.is_empty() {
            "A machine that runs Slicer, or is to: user@address (or local)"
        } else {
            "Another one (nothing: no more)"
        };
        let target = ask.line(question, "").await.map_err(super::one)?;
        let target = target.ok_or_else(nobody)?;
        match target.trim() {
            "" if machines.is_empty() => {
                return Err(super::one(
                    Failure::new(Code::Declined, "no machine was named; nothing was written")
                        .hint("run slicer-k3s init again when one answers"),
                ));
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
                Err(failure) => report::failure(&failure),
            },
        }
    }
    let control_plane = match options.control_plane.as_slice() {
        [] => which_hosts(&machines, ask).await?.ok_or_else(nobody)?,
        named => named.to_vec(),
    };
    let name = match &options.name {
        Some(name) => name.clone(),
        None => ask
            .line("The cluster's name", "home")
            .await
            .map_err(super::one)?
            .ok_or_else(nobody)?,
    };
    Ok((propose::file(name.trim(), &machines, control_plane), known))
}

/// Connects to a machine and looks at it.
async fn look(
    target: &str,
    global: &Global,
    others: &[(String, HostFacts)],
) -> Result<(Machine, HostFacts)> {
    config::check_ssh(target).map_err(|(why, hint)| {
        let failure = Failure::new(Code::Config, format!("{target} {why}"));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let host = Host::new(target, Ssh::of(target));
    let machine = fleet::one(&host, &fleet::policy(global)).await?;
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
    facts.name = propose::name(&facts.hostname, target, &taken);
    Ok((machine.called(&facts.name), facts))
}

/// Asks where the servers are to run, where there is a choice.
async fn which_hosts(
    machines: &[(String, HostFacts)],
    ask: &dyn Ask,
) -> Result<Option<Vec<String>>, Vec<Failure>> {
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
        let Some(answer) = answer.map_err(super::one)? else {
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
    Err(super::one(
        Failure::new(
            Code::Declined,
            "no control plane was chosen; nothing was written",
        )
        .hint("run slicer-k3s init again"),
    ))
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
