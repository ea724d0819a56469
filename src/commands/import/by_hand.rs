//! A look at a cluster that somebody made by hand: which of the daemons found belong to it, its servers tell.

use std::collections::HashMap;
use std::sync::Arc;

use super::targets::{Host, Reached};
use crate::cli::Import;
use crate::config;
use crate::failure::{Code, Failure, Failures, Result};
use crate::import::{self, Candidate, ExistingCluster, Findings};
use crate::log;
use crate::plan::Server;
use crate::remote::Machine;
use crate::slicer::{ServerFacts, slicer_on};

/// Whether any of these machines runs a daemon that is nobody's cluster yet.
pub(super) fn is_likely(reached: &Reached) -> bool {
    let hosts = reached.hosts.iter();
    hosts
        .flat_map(|host| import::once(&host.facts.daemons))
        .next()
        .is_some()
}

/// Everything that the machines tell.
pub(super) async fn look(
    cluster: String,
    reached: &Reached,
    options: &Import,
) -> Result<(Findings, HashMap<String, Arc<Machine>>), Failures> {
    let (mut candidates, mut told, mut machines) = (Vec::new(), Vec::new(), HashMap::new());
    let (mut silent, mut failures) = (Vec::new(), Vec::new());
    for host in &reached.hosts {
        match candidate(host).await {
            Ok(candidate) => {
                let (its, others) = servers(host, &candidate).await;
                told.extend(its);
                silent.extend(others);
                machines.insert(candidate.facts.name.clone(), Arc::clone(&host.machine));
                candidates.push(candidate);
            }
            Err(failure) => failures.push(failure),
        }
    }
    if machines.len() < candidates.len() {
        failures.push(
            Failure::new(Code::Config, "two of these hosts have one name")
                .hint("give each a name of its own: slicer-k3s import n100=alex@192.168.1.11 …"),
        );
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    if let (true, Some((_, failure))) = (told.is_empty(), silent.first()) {
        return Err(failure.clone().into());
    }
    if let Some(failure) = import::in_sqlite(&told) {
        return Err(failure.into());
    }
    let hosts = import::adopt(&cluster, candidates, &told)?;
    let mut findings = Findings {
        cluster,
        hosts,
        servers: told,
        silent: Vec::new(),
        noted: None,
    };
    // Which groups are the cluster's agents is read off the autoscaler's configuration.
    if let Some(failure) = findings.autoscaler_unknown() {
        return Err(failure.into());
    }
    let silent: Vec<Server> = silent.into_iter().map(|(vm, _)| vm).collect();
    findings.silent = findings.left_out(&silent);
    if !findings.silent.is_empty() && !options.partial {
        return Err(left_out(&findings.silent).into());
    }
    let missing = import::missing_groups(&findings.hosts, findings.autoscaler().as_ref());
    if !missing.is_empty() && !options.partial {
        return Err(Failure::new(
            Code::Config,
            format!("{} belongs to the cluster, too", missing.join(", ")),
        )
        .because("its autoscaler grows it, and none of these hosts has it")
        .hint("name its host as well; where it is gone for good, add --partial")
        .into());
    }
    findings.put_in_order();
    Ok((findings, machines))
}

/// A host with the daemons on it that could be adopted, each of which must be one that can.
async fn candidate(host: &Host) -> Result<Candidate> {
    let mut facts = host.facts.clone();
    facts.name = match &host.name {
        Some(name) => name.clone(),
        None => own_name(host)?,
    };
    let mut daemons = Vec::new();
    for found in import::once(&facts.daemons) {
        let yaml = host.machine.read(&found.config).await?.unwrap_or_default();
        daemons.push(ExistingCluster::read(&facts.name, &found, &yaml)?);
    }
    Ok(Candidate {
        ssh: host.ssh.clone(),
        sudo_password_file: host.sudo_password_file.clone(),
        facts,
        daemons,
    })
}

/// What it calls itself, where that can be a host's name here.
fn own_name(host: &Host) -> Result<String> {
    let name = host.facts.hostname.split('.').next().unwrap_or_default();
    let name = name.to_lowercase();
    config::check_name(&name).map_err(|(why, _)| {
        Failure::new(
            Code::Config,
            format!(
                "what {} calls itself cannot be its name: it {why}",
                host.ssh
            ),
        )
        .hint(format!("give it one: NAME={}", host.ssh))
    })?;
    Ok(name)
}

/// Its VMs that run a k3s server, with what they were told, and those that did not answer, with the reason.
async fn servers(
    host: &Host,
    candidate: &Candidate,
) -> (Vec<(String, ServerFacts)>, Vec<(Server, Failure)>) {
    let (mut told, mut silent) = (Vec::new(), Vec::new());
    for made in &candidate.daemons {
        for vm in made.vms() {
            let asked = async {
                let slicer = slicer_on(&host.machine, &made.daemon).await?;
                slicer.server_facts(&vm.name).await
            };
            match asked.await {
                Ok(facts) if !facts.token.expose().is_empty() => told.push((vm.name, facts)),
                Ok(_) => {}
                Err(failure) => {
                    log::note(format!("{}: {failure}", vm.name));
                    silent.push((vm, failure));
                }
            }
        }
    }
    (told, silent)
}

/// The refusal where servers would not get what the others get: they would go on with the token that is refused elsewhere.
fn left_out(names: &[String]) -> Failure {
    Failure::new(
        Code::Import,
        format!("{} would be left out", names.join(", ")),
    )
    .because("a server that is not seen keeps its old token and would not start again after the next restarts")
    .hint(
        "name the hosts of all servers, and see that each VM runs and answers; where one is gone for good, add --partial",
    )
}
