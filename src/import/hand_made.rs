//! A cluster that somebody made by hand, as the daemons' YAML, the servers and the autoscaler tell it: marks for its hosts,
//! as if it had been ours. What its owner set up stays as it is.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::file::defaults;
use super::{Autoscaler, Found, Mark, cloud_config, servers, settings};
use crate::config;
use crate::failure::{Code, Failure, Result};
use crate::generate::UNITS;
use crate::k3s::{PROGRAM, Release};
use crate::plan::{Adopted, Daemon, FoundDaemon, HostFacts, Role, Server};
use crate::slicer::ServerFacts;

/// Slicer's size of a VM's disk where its YAML says nothing, GB. What `slicer new` writes: an image needs a size.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/getting-started/walkthrough.md.
const STORAGE_GB: u32 = 25;

/// Most VMs of a group that are taken for servers: etcd has no more members.
const MOST_SERVERS: u32 = 7;

/// A daemon that somebody set up, with its one group.
#[derive(Clone, Debug)]
pub struct HandMade {
    /// The daemon as it would be planned; whose it is shows later.
    pub daemon: Daemon,
    /// The SSH keys in its YAML.
    pub keys: Vec<String>,
}

impl HandMade {
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
    pub daemons: Vec<HandMade>,
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
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// As `slicer new` prints it.
    fn yaml(group: &str, net: u8, count: u32, bind: &str) -> String {
        format!(
            "config:\n  host_groups:\n  - name: {group}\n    storage: image\n    storage_size: 30G\n    count: {count}\n    \
             vcpu: 2\n    ram_gb: 4\n    network:\n      mode: bridge\n      bridge: br{group}0\n      tap_prefix: {group}\n      \
             gateway: 192.168.{net}.1/24\n  image: x:latest\n  ssh_keys:\n  - ssh-ed25519 AAAA me\n  api:\n    port: 8080\n    \
             bind_address: {bind}\n"
        )
    }

    fn daemon(group: &str) -> FoundDaemon {
        FoundDaemon {
            source: "process 12".into(),
            directory: "/home/alex".into(),
            config: format!("/home/alex/{group}.yaml"),
            ..FoundDaemon::default()
        }
    }

    fn made(group: &str, net: u8, count: u32) -> HandMade {
        HandMade::read("n100", &daemon(group), &yaml(group, net, count, "0.0.0.0")).unwrap()
    }

    fn server() -> ServerFacts {
        ServerFacts {
            arguments: vec![
                "--cluster-init".into(),
                "--cluster-cidr=10.99.0.0/16".into(),
            ],
            token: Secret::new("K10ab::server:5e7ve7"),
            agent_token: Secret::new("K10ab::node:5e7ve7"),
            version: "v1.34.4+k3s1".into(),
            cloud_config: Secret::new(
                "[global]\ndefault-min-size=0\ndefault-max-size=10\n[nodegroup \"k3s-agents-1\"]\nmax-size=4\n",
            ),
            release: Secret::new(
                r#"{"chart":{"metadata":{"version":"9.52.1"}},"config":{"image":{"repository":"x/y","tag":"latest"},
                    "extraArgs":{"expander":"random","v":2}}}"#,
            ),
            ..ServerFacts::default()
        }
    }

    fn candidate(servers: u32) -> Candidate {
        let usual = defaults().unwrap();
        let (mut facts, _) = crate::plan::assumed(&usual).unwrap();
        let mut facts = facts.remove(0);
        facts.name = "n100".into();
        Candidate {
            ssh: "alex@192.168.1.11".into(),
            sudo_password_file: None,
            facts,
            daemons: vec![
                made("k3s-cp", 137, servers),
                made("k3s-agents-1", 138, 0),
                made("other", 139, 2),
            ],
        }
    }

    fn adopted() -> Vec<Found> {
        let told = [("k3s-cp-1".into(), server())];
        adopt("home", vec![candidate(1)], &told).unwrap()
    }

    #[test]
    fn servers_and_the_autoscalers_groups_are_adopted_and_nothing_else() {
        let found = adopted();
        let mark = &found[0].mark;
        let groups: Vec<_> = mark
            .daemons
            .iter()
            .map(|daemon| (&*daemon.group, daemon.role))
            .collect();
        let wanted = [
            ("k3s-cp", Role::ControlPlane),
            ("k3s-agents-1", Role::Workers),
        ];
        assert_eq!(groups, wanted);
        assert_eq!((mark.daemons[1].min, mark.daemons[1].max), (0, 4));
        assert_eq!(mark.daemons[0].storage_gb, 30);
        assert_eq!(mark.servers[0].address, Ipv4Addr::new(192, 168, 137, 2));
        assert_eq!(mark.cluster_cidr.to_string(), "10.99.0.0/16");
        let known =
            Autoscaler::of_release(server().release.expose(), server().cloud_config.expose());
        assert!(missing_groups(&found, known.as_ref()).is_empty());
        assert_eq!(missing_groups(&[], known.as_ref()), ["k3s-agents-1"]);
    }

    /// Two networks became the first one, or the default; a Node of another name stayed as a ghost, and registries were lost.
    #[test]
    fn settings_with_which_no_server_of_ours_runs_are_refused() {
        let told = |config: &str, flag: &str| {
            let mut server = server();
            server.config = Secret::new(config);
            server.arguments = vec![flag.to_owned()];
            vec![("k3s-cp-1".to_owned(), server)]
        };
        for (config, flag, key) in [
            (
                "cluster-cidr: 10.44.0.0/16,fd00:44::/56\n",
                "",
                "cluster-cidr",
            ),
            (
                "service-cidr: [10.44.0.0/16, 10.45.0.0/16]\n",
                "",
                "service-cidr",
            ),
            ("", "--service-cidr=fd00:45::/112", "service-cidr"),
            ("node-name: one\n", "", "node-name"),
            ("", "--private-registry=/etc/other.yaml", "private-registry"),
        ] {
            let failure = adopt("home", vec![candidate(1)], &told(config, flag)).unwrap_err();
            assert_eq!(failure.code, Code::Import);
            assert!(failure.what.starts_with(key), "{failure}");
        }
        let usual = "cluster-cidr: [10.44.0.0/16]\nnode-name: k3s-cp-1\nprivate-registry: /etc/rancher/k3s/registries.yaml\n";
        let found = adopt("home", vec![candidate(1)], &told(usual, "")).unwrap();
        assert_eq!(found[0].mark.cluster_cidr.to_string(), "10.44.0.0/16");
    }

    /// What its owner decided is kept: the server token, unencrypted Secrets, the autoscaler's flags.
    #[test]
    fn the_rebuilt_state_keeps_the_token_and_says_what_cannot_change() {
        let findings = super::super::Findings {
            cluster: "home".into(),
            hosts: adopted(),
            servers: vec![("k3s-cp-1".into(), server())],
            silent: Vec::new(),
            noted: None,
        };
        let state = findings.state().unwrap();
        // A token of their own for its agents is a rotation: they have joined by the servers' one.
        assert!(state.secrets.agents_had_the_server_token());
        assert_eq!(state.secrets.server_token.expose(), "5e7ve7");
        assert_ne!(state.secrets.agent_token.expose(), "5e7ve7");
        assert!(state.secrets.ssh_public_key.is_empty() && state.decisions.plain_secrets);
        let text = super::super::text(&findings, &Default::default())
            .unwrap()
            .text;
        for line in [
            "servers = 1",
            "storage-gb = 30",
            "image = \"x/y\"",
            "max = 4",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    /// An upgrade by hand that is not finished.
    #[test]
    fn of_servers_that_differ_the_oldest_version_is_recorded() {
        let newer = ServerFacts {
            version: "v1.34.4+k3s10".into(),
            ..server()
        };
        let older = ServerFacts {
            version: "v1.34.4+k3s9".into(),
            ..server()
        };
        let told = [("k3s-cp-1".into(), newer), ("k3s-cp-2".into(), older)];
        let found = adopt("home", vec![candidate(2)], &told).unwrap();
        assert_eq!(found[0].mark.k3s_version, "v1.34.4+k3s9");
    }

    #[test]
    fn what_we_could_not_run_is_not_adopted() {
        let good = yaml("k3s-cp", 137, 3, "127.0.0.1");
        assert!(HandMade::read("n100", &daemon("k3s-cp"), &good).is_ok());
        let bridge = good.replace("brk3s-cp0", "br7");
        let socket = yaml("k3s-cp", 137, 3, "/run/slicer.sock");
        for text in ["", &bridge, &socket] {
            assert!(
                HandMade::read("n100", &daemon("k3s-cp"), text).is_err(),
                "{text}"
            );
        }
        let mut blank = daemon("k3s-cp");
        blank.directory = "/home/al ex".into();
        assert!(HandMade::read("n100", &blank, &good).is_err());
    }

    #[test]
    fn a_unit_and_its_process_are_one_daemon() {
        let mut by_unit = daemon("k3s-cp");
        by_unit.source = "/etc/systemd/system/mine.service".into();
        for both in [
            [by_unit.clone(), daemon("k3s-cp")],
            [daemon("k3s-cp"), by_unit],
        ] {
            let found = once(&both);
            assert_eq!(found.len(), 1);
            assert_eq!(unit(&found[0].source).as_deref(), Some("mine.service"));
        }
    }
}
