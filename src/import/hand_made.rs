//! A cluster that somebody made by hand, as the daemons' YAML, the servers and the autoscaler tell it: marks for its hosts,
//! as if it had been ours. What its owner set up stays as it is.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::file::defaults;
use super::{Autoscaler, Found, Mark, cloud_config, servers, settings};
use crate::config;
use crate::facts::{FoundDaemon, HostFacts};
use crate::failure::{Code, Failure, Result};
use crate::generate::UNITS;
use crate::k3s::Release;
use crate::names::k3s::PROGRAM;
use crate::plan::{Adopted, Daemon, Role, Server};
use crate::slicer::ServerFacts;

/// Slicer's size of a VM's disk where its YAML says nothing, GB. What `slicer new` writes: an image needs a size.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/getting-started/walkthrough.md.
const STORAGE_GB: u32 = 25;

/// Most VMs of a group that are taken for servers: etcd has no more members.
const MOST_SERVERS: u32 = 7;

/// A daemon that somebody set up, with its one group.
#[derive(Clone, Debug)]
pub struct ExistingCluster {
    /// The daemon as it would be planned; whose it is shows later.
    pub daemon: Daemon,
    /// The SSH keys in its YAML.
    pub keys: Vec<String>,
}

impl ExistingCluster {
    /// From the YAML of a daemon found on host `host`.
    pub fn read(host: &str, found: &FoundDaemon, yaml: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Failure::new(
                Code::Import,
                format!("the daemon of {} on {host} cannot be adopted", found.config),
            )
            .because(why.to_owned())
            .hint("slicer-k3s init beside it makes a cluster of its own; see docs/guide.md")
        };
        for path in [&found.config, &found.directory] {
            if !config::is_plain_path(path) {
                return Err(wrong("its path has blanks or signs"));
            }
        }
        let document: Value = serde_saphyr::from_str(yaml).unwrap_or_default();
        let config = &document["config"];
        let groups = config["host_groups"].as_array();
        let [group] = groups.map_or(&[][..], Vec::as_slice) else {
            return Err(wrong("it has several groups, or none"));
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
        let name = text(&group["name"]);
        config::check_name(&name).map_err(|(why, _)| wrong(&format!("its group's name {why}")))?;
        let network = &group["network"];
        let gateway: Ipv4Net = text(&network["gateway"])
            .parse()
            .map_err(|_| wrong("it has no gateway"))?;
        let bind = match text(&config["api"]["bind_address"]).as_str() {
            "" | "127.0.0.1" => Ipv4Addr::LOCALHOST,
            "0.0.0.0" => Ipv4Addr::UNSPECIFIED,
            _ => return Err(wrong("its API is bound to neither 127.0.0.1 nor 0.0.0.0")),
        };
        let size = text(&group["storage_size"]);
        let size = size.trim_end_matches(|c: char| !c.is_ascii_digit()).parse();
        // What is left out is as Slicer has it (slicervm/docs.slicervm.com@05085f9 docs/reference/config.md).
        let adopted = Adopted {
            directory: found.directory.clone(),
            file: found.config.clone(),
            unit: unit(&found.source),
            count: number(&group["count"]).unwrap_or(1),
            cpu: number(&group["vcpu"]).unwrap_or(2),
            ram_gb: number(&group["ram_gb"]).unwrap_or(4),
            storage_gb: size.unwrap_or(STORAGE_GB),
        };
        let daemon = Daemon {
            group: name,
            host: host.to_owned(),
            role: Role::Workers,
            cidr: gateway.trunc(),
            api_bind: bind,
            api_port: number(&config["api"]["port"])
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(8080),
            tap_prefix: text(&network["tap_prefix"]),
            count: adopted.count,
            cpu: adopted.cpu,
            ram_gb: adopted.ram_gb,
            storage_gb: adopted.storage_gb,
            image: text(&config["image"]),
            min: 0,
            max: 0,
            priority: 0,
            shares: None,
            adopted: Some(adopted),
        };
        if daemon.gateway() != gateway.addr() || text(&network["bridge"]) != daemon.bridge() {
            return Err(wrong(
                "its bridge is not called and addressed as Slicer does by itself",
            ));
        }
        Ok(Self {
            daemon,
            keys: ssh_keys(&document),
        })
    }

    /// The names of its VMs that start with it, numbered as Slicer does; those that may be servers.
    pub fn vms(&self) -> impl Iterator<Item = Server> {
        let daemon = &self.daemon;
        (1..=daemon.count.min(MOST_SERVERS))
            .zip(daemon.cidr.hosts().skip(1))
            .map(|(n, address)| Server {
                name: format!("{}-{n}", daemon.group),
                group: daemon.group.clone(),
                host: daemon.host.clone(),
                address,
            })
    }
}

/// The SSH keys in a daemon's YAML.
pub fn ssh_keys(document: &Value) -> Vec<String> {
    let keys = document["config"]["ssh_keys"].as_array();
    let keys = keys.into_iter().flatten().filter_map(Value::as_str);
    keys.map(str::to_owned).collect()
}

/// Daemons found several times, as unit and as process, once.
pub fn once(found: &[FoundDaemon]) -> Vec<FoundDaemon> {
    let mut by_file: BTreeMap<&str, &FoundDaemon> = BTreeMap::new();
    for daemon in found.iter().filter(|daemon| daemon.cluster().is_none()) {
        // The unit tells more: by it the daemon comes back.
        let known = by_file.entry(&daemon.config).or_insert(daemon);
        if unit(&known.source).is_none() {
            *known = daemon;
        }
    }
    by_file.into_values().cloned().collect()
}

/// The unit's name, where a daemon was found by its unit.
fn unit(source: &str) -> Option<String> {
    let name = source.strip_prefix(UNITS)?.strip_prefix('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.bytes().all(plain).then(|| name.to_owned())
}

/// A host with the daemons found on it.
pub struct Candidate {
    /// How it is reached.
    pub ssh: String,
    /// The local file with sudo's password, where one is needed.
    pub sudo_password_file: Option<String>,
    /// What was seen of it; its name is the one that it will have.
    pub facts: HostFacts,
    /// Its daemons.
    pub daemons: Vec<ExistingCluster>,
}

/// The hosts as if they were marked. `told` is what VMs that run a server say, by name.
pub fn adopt(
    cluster: &str,
    candidates: Vec<Candidate>,
    told: &[(String, ServerFacts)],
) -> Result<Vec<Found>> {
    let Some((_, some)) = told.first() else {
        return Err(Failure::new(
            Code::Import,
            "none of these machines runs a cluster that could be adopted",
        )
        .because("no VM of a daemon found on them runs a k3s server")
        .hint("name the hosts of the cluster, or make one: slicer-k3s init"));
    };
    if some.version.is_empty() {
        return Err(
            Failure::new(Code::Import, "the cluster's version of k3s is not known")
                .because(format!("{PROGRAM} on its servers does not tell")),
        );
    }
    if let Some(refusal) = settings::refusal(told) {
        return Err(refusal);
    }
    // The oldest: where they differ, `init` must not take one for what was decided and raise the others to it unasked.
    let oldest = told
        .iter()
        .filter_map(|(_, facts)| Release::parse(&facts.version))
        .min();
    let version = oldest.map_or_else(|| some.version.clone(), |oldest| oldest.to_string());
    let usual = defaults()?;
    let config = servers::config(some);
    let network = |key: &str, usual: Ipv4Net| settings::network(&config[key]).unwrap_or(usual);
    let grown = told
        .iter()
        .map(|(_, facts)| facts.cloud_config.expose())
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    let mut found = Vec::new();
    for candidate in candidates {
        let (mut daemons, mut its, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for made in candidate.daemons {
            let vms: Vec<Server> = made.vms().collect();
            let serves = |vm: &Server| told.iter().any(|(name, _)| *name == vm.name);
            let mut daemon = made.daemon;
            if vms.iter().any(serves) {
                daemon.role = Role::ControlPlane;
                its.extend(vms);
                keys.extend(made.keys);
            } else if let Some((min, max)) = cloud_config::sizes(grown, &daemon.group) {
                (daemon.min, daemon.max) = (min, max);
            } else {
                continue;
            }
            daemons.push(daemon);
        }
        let mark = Mark::made(
            cluster,
            &candidate.facts.name,
            (daemons, its),
            (
                network("cluster-cidr", usual.k3s.cluster_cidr),
                network("service-cidr", usual.k3s.service_cidr),
            ),
            &version,
        );
        found.push(Found {
            ssh: candidate.ssh,
            sudo_password_file: candidate.sudo_password_file,
            facts: candidate.facts,
            mark,
            routes: String::new(),
            keys,
        });
    }
    Ok(found)
}

/// Groups that the autoscaler grows and none of these hosts has.
pub fn missing_groups(found: &[Found], autoscaler: Option<&Autoscaler>) -> Vec<String> {
    let known = |group: &String| {
        let mut daemons = found.iter().flat_map(|host| &host.mark.daemons);
        daemons.any(|daemon| daemon.group == *group)
    };
    let groups = autoscaler.map_or(&[][..], |autoscaler| &autoscaler.groups);
    groups
        .iter()
        .filter(|group| !known(group))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
