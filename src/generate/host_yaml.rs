//! The YAML that `slicer up` reads: one daemon, and one host group, unless the servers' daemon serves the agents as well.

use serde::Serialize;

use crate::failure::Result;
use crate::plan::{Daemon, Plan, Role};
use crate::yaml;

#[derive(Serialize)]
struct File<'a> {
    config: Config<'a>,
}

#[derive(Serialize)]
struct Config<'a> {
    host_groups: Vec<HostGroup<'a>>,
    image: &'a str,
    hypervisor: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh_keys: Vec<&'a str>,
    graceful_shutdown: bool,
    api: Api,
    ssh: Console,
}

#[derive(Serialize)]
struct HostGroup<'a> {
    name: &'a str,
    // Left out, Slicer takes devmapper, which needs a disk of its own.
    storage: &'static str,
    storage_size: String,
    count: u32,
    vcpu: u32,
    ram_gb: u32,
    network: Network<'a>,
}

#[derive(Serialize)]
struct Network<'a> {
    mode: &'static str,
    bridge: String,
    tap_prefix: &'a str,
    gateway: String,
}

#[derive(Serialize)]
struct Api {
    port: u16,
    bind_address: String,
    auth: Auth,
}

#[derive(Serialize)]
struct Auth {
    enabled: bool,
}

/// Slicer's serial-over-SSH console: port 0 turns it off.
#[derive(Serialize)]
struct Console {
    port: u16,
}

fn group(daemon: &Daemon) -> HostGroup<'_> {
    HostGroup {
        name: &daemon.group,
        storage: "image",
        storage_size: format!("{}G", daemon.storage_gb),
        count: daemon.count,
        vcpu: daemon.cpu,
        ram_gb: daemon.ram_gb,
        network: Network {
            mode: "bridge",
            bridge: daemon.bridge(),
            tap_prefix: &daemon.tap_prefix,
            gateway: format!("{}/{}", daemon.gateway(), daemon.cidr.prefix_len()),
        },
    }
}

/// The host YAML of the daemon that serves this group. `cluster_key` and the user's keys go to servers only: nobody logs in
/// to agents. Where one daemon serves both, Slicer has one list of keys for both.
pub fn host_yaml(plan: &Plan, daemon: &Daemon, cluster_key: &str) -> Result<String> {
    let daemon = plan.daemon(daemon.carrier()).unwrap_or(daemon);
    let ssh_keys = match daemon.role {
        Role::ControlPlane => std::iter::once(cluster_key)
            .chain(plan.ssh_keys.iter().map(String::as_str))
            .map(str::trim)
            .collect(),
        Role::Workers => Vec::new(),
    };
    yaml::write(&File {
        config: Config {
            host_groups: plan.carried(daemon).map(group).collect(),
            image: &daemon.image,
            hypervisor: "firecracker",
            ssh_keys,
            graceful_shutdown: true,
            api: Api {
                port: daemon.api_port,
                bind_address: daemon.api_bind.to_string(),
                auth: Auth { enabled: true },
            },
            ssh: Console { port: 0 },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn a_control_plane_has_keys_and_a_fixed_count() {
        let plan = plan();
        insta::assert_snapshot!(
            host_yaml(&plan, &plan.daemons[0], "ssh-ed25519 AAAA cluster").unwrap(), @r#"
        config:
          host_groups:
          - name: k3s-cp
            storage: image
            storage_size: 25G
            count: 3
            vcpu: 2
            ram_gb: 4
            network:
              mode: bridge
              bridge: brk3s-cp0
              tap_prefix: t137x
              gateway: 192.168.137.1/24
          image: ghcr.io/openfaasltd/slicer-systemd:6.1.90-x86_64-latest
          hypervisor: firecracker
          ssh_keys:
          - ssh-ed25519 AAAA cluster
          - ssh-ed25519 BBBB alex
          graceful_shutdown: true
          api:
            port: 8080
            bind_address: "127.0.0.1"
            auth:
              enabled: true
          ssh:
            port: 0
        "#);
    }

    /// Slicer has one list of keys and one API for all groups of a file.
    #[test]
    fn one_daemon_for_two_groups_names_both() {
        let plan = crate::testing::shared();
        let texts = [0, 2].map(|n| host_yaml(&plan, &plan.daemons[n], "key").unwrap());
        assert_eq!(texts[0], texts[1], "whichever of the two is asked for");
        let place = |part: &str| texts[0].find(part).unwrap();
        assert!(place("name: k3s-cp\n") < place("name: k3s-agents-2\n"));
        assert!(place("count: 3") < place("count: 0"));
        assert_eq!(texts[0].matches("port: 8080").count(), 1);
        assert!(!texts[0].contains("8082"), "{}", texts[0]);
        let files = crate::generate::host_files(&plan, "n100", "key").unwrap();
        assert!(files.iter().all(|file| !file.path.contains("k3s-agents-2")));
    }

    #[test]
    fn workers_have_no_keys_and_start_empty() {
        let plan = plan();
        let text = host_yaml(&plan, &plan.daemons[1], "ssh-ed25519 AAAA cluster").unwrap();
        assert!(!text.contains("ssh-ed25519"), "{text}");
        assert!(text.contains("count: 0"), "{text}");
    }
}
