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

fn made(group: &str, net: u8, count: u32) -> ExistingCluster {
    ExistingCluster::read("n100", &daemon(group), &yaml(group, net, count, "0.0.0.0")).unwrap()
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
    let known = Autoscaler::of_release(server().release.expose(), server().cloud_config.expose());
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
    assert!(ExistingCluster::read("n100", &daemon("k3s-cp"), &good).is_ok());
    let bridge = good.replace("brk3s-cp0", "br7");
    let socket = yaml("k3s-cp", 137, 3, "/run/slicer.sock");
    for text in ["", &bridge, &socket] {
        assert!(
            ExistingCluster::read("n100", &daemon("k3s-cp"), text).is_err(),
            "{text}"
        );
    }
    let mut blank = daemon("k3s-cp");
    blank.directory = "/home/al ex".into();
    assert!(ExistingCluster::read("n100", &blank, &good).is_err());
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
