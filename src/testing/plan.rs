//! Plans.

use crate::facts::{Arch, FoundDaemon};
use crate::plan::{Adopted, Autoscaler, Daemon, Decisions, Host, K3s, Plan, Role, Server};

fn host(name: &str, last: u8) -> Host {
    Host {
        name: name.into(),
        lan_address: [192, 168, 1, last].into(),
        behind: None,
        arch: Arch::X86_64,
        licence_file: Some("/home/alex/.slicer/LICENSE".into()),
        slicer_installed: true,
    }
}

fn daemon(group: &str, host: &str, role: Role, third: u8, port: u16) -> Daemon {
    let servers = role == Role::ControlPlane;
    Daemon {
        group: group.into(),
        host: host.into(),
        role,
        cidr: format!("192.168.{third}.0/24").parse().unwrap(),
        api_bind: if servers {
            [127, 0, 0, 1]
        } else {
            [0, 0, 0, 0]
        }
        .into(),
        api_port: port,
        tap_prefix: format!("t{third}x"),
        count: if servers { 3 } else { 0 },
        cpu: 2,
        ram_gb: 4,
        storage_gb: 25,
        image: "ghcr.io/openfaasltd/slicer-systemd:6.1.90-x86_64-latest".into(),
        min: 0,
        max: 4,
        priority: 0,
        shares: None,
        adopted: None,
    }
}

/// A daemon as a person set it up, in a home directory.
pub(crate) fn adopted(daemon: &Daemon) -> Adopted {
    Adopted {
        directory: "/home/alex".into(),
        file: format!("/home/alex/{}.yaml", daemon.group),
        unit: None,
        count: daemon.count,
        cpu: daemon.cpu,
        ram_gb: daemon.ram_gb,
        storage_gb: daemon.storage_gb,
    }
}

/// The same with the third server on ryzen.
pub(crate) fn spread() -> Plan {
    let mut plan = plan();
    let there = daemon("k3s-cp-b", "ryzen", Role::ControlPlane, 138, 8081);
    let third = &mut plan.servers[2];
    third.host.clone_from(&there.host);
    third.group.clone_from(&there.group);
    third.address = [192, 168, 138, 2].into();
    plan.daemons[1] = there;
    plan
}

/// The same with one daemon on n100 for its servers and its agents.
pub(crate) fn shared() -> Plan {
    let mut plan = plan();
    let (port, bind) = (plan.daemons[0].api_port, [0, 0, 0, 0].into());
    plan.daemons[0].api_bind = bind;
    plan.daemons[2].api_port = port;
    plan.daemons[2].shares = Some("k3s-cp".into());
    plan
}

/// Three servers on n100, workers on ryzen and on n100 itself.
pub(crate) fn plan() -> Plan {
    Plan {
        cluster: "home".into(),
        hosts: vec![host("n100", 11), host("ryzen", 12)],
        daemons: vec![
            daemon("k3s-cp", "n100", Role::ControlPlane, 137, 8080),
            daemon("k3s-agents-1", "ryzen", Role::Workers, 138, 8081),
            daemon("k3s-agents-2", "n100", Role::Workers, 139, 8082),
        ],
        servers: (1_u8..=3)
            .map(|n| Server {
                name: format!("k3s-cp-{n}"),
                group: "k3s-cp".into(),
                host: "n100".into(),
                address: [192, 168, 137, n + 1].into(),
            })
            .collect(),
        k3s: K3s {
            version: "v1.34.4+k3s1".into(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            disable: vec!["traefik".into(), "servicelb".into()],
            tls_san: vec!["k3s.example".into()],
            taint: false,
            addons_on_servers: true,
            plain_secrets: false,
            registries: serde_json::Map::new(),
            environment: std::collections::BTreeMap::new(),
            extra: serde_json::Map::new(),
        },
        autoscaler: Autoscaler {
            chart_repo: "https://kubernetes.github.io/autoscaler".into(),
            chart_version: "9.52.1".into(),
            image: "ghcr.io/openfaasltd/cluster-autoscaler-slicer".into(),
            tag: "latest".into(),
            digest: None,
            expander: "random".into(),
            args: serde_json::Map::new(),
            values: serde_json::Map::new(),
        },
        ssh_keys: vec!["ssh-ed25519 BBBB alex".into()],
        absent: Vec::new(),
        away: Vec::new(),
        reasons: Vec::new(),
        founded: None,
    }
}

/// What was decided for [`plan`].
pub(crate) fn decided() -> Decisions {
    plan().decisions(&Decisions::default())
}

/// A daemon that was found working in this directory.
pub(crate) fn found_daemon(directory: &str) -> FoundDaemon {
    FoundDaemon {
        directory: directory.into(),
        ..FoundDaemon::default()
    }
}
