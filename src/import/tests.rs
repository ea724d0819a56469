//! A plan goes onto machines and comes back.

use serde_json::{Value, json};

use super::*;
use crate::plan::Plan;
use crate::secret::Secret;
use crate::state::Secrets;
use crate::testing::plan;
use crate::{config, generate, k3s};

mod settings;
mod surroundings;
mod tokens;

/// The plan's cluster as its machines show it.
fn findings(plan: &Plan, secrets: &Secrets) -> Findings {
    let usual = config::parse("name='x'\n[hosts.x]\nssh='local'", "x").unwrap();
    let (assumed, _) = crate::plan::assumed(&usual).unwrap();
    let hosts = plan.hosts.iter().map(|host| {
        let mut facts = assumed[0].clone();
        facts.name.clone_from(&host.name);
        facts.identity.clone_from(&host.name);
        facts.licence_file.clone_from(&host.licence_file);
        facts.addresses = vec![(
            "eth0".into(),
            format!("{}/24", host.lan_address).parse().unwrap(),
        )];
        facts.ssh_address = Some(host.lan_address);
        let mark = generate::host_mark(plan, &host.name).unwrap();
        let mut keys = vec![secrets.ssh_public_key.clone()];
        keys.extend(plan.ssh_keys.clone());
        Found {
            ssh: format!("alex@{}", host.lan_address),
            sudo_password_file: None,
            facts,
            mark: Mark::read("x", &plan.cluster, &mark.content).unwrap(),
            routes: generate::route_table(&generate::routes(plan, &host.name)),
            keys,
        }
    });
    let chart = generate::helm_chart(plan, "abc").unwrap().to_string();
    let servers = plan.servers.iter().map(|server| {
        let facts = ServerFacts {
            config: Secret::new(
                k3s::config(plan, server, k3s::joins(plan, server), secrets).unwrap(),
            ),
            chart: chart.clone(),
            cloud_config: Secret::new(
                "[nodegroup \"k3s-agents-1\"]\n[nodegroup \"k3s-agents-2\"]\n",
            ),
            encrypts: true,
            registries: Secret::new(k3s::registries(plan).unwrap().unwrap_or_default()),
            environment: Secret::new(k3s::environment(plan).unwrap_or_default()),
            ..ServerFacts::default()
        };
        (server.name.clone(), facts)
    });
    Findings {
        cluster: plan.cluster.clone(),
        hosts: hosts.collect(),
        servers: servers.collect(),
        silent: Vec::new(),
        noted: None,
    }
}

/// The others' routes name a gateway's two addresses, and lead to the host behind it by one of them.
#[test]
fn a_host_behind_another_gets_its_own_address_back() {
    let mut plan = plan();
    let mut third = plan.hosts[1].clone();
    third.name = "pi5".into();
    third.lan_address = [192, 168, 1, 13].into();
    plan.hosts.push(third);
    plan.hosts[0].lan_address = [10, 20, 0, 2].into();
    plan.hosts[0].behind = Some(crate::plan::NatGateway {
        gateway: "ryzen".into(),
        inner: [10, 20, 0, 1].into(),
    });
    let mut findings = findings(&plan, &crate::testing::secrets());
    let inner = ("eth1".to_owned(), "10.20.0.1/24".parse().unwrap());
    findings.hosts[1].facts.addresses.push(inner);
    assert!(findings.missing().is_empty(), "{:?}", findings.missing());
    let addresses = findings.decisions(plan.servers.clone()).lan_addresses;
    for host in &plan.hosts {
        let has_group = plan.daemons_of(&host.name).next().is_some();
        let known = addresses.get(&host.name).copied();
        assert_eq!(
            known,
            has_group.then_some(host.lan_address),
            "{}",
            host.name
        );
    }
    // Whoever forgot it is told its own address, not that of the one before it.
    findings.hosts.remove(0);
    assert_eq!(findings.missing(), [std::net::Ipv4Addr::new(10, 20, 0, 2)]);
}

/// It was said that the host of the first server was not named, and that daemons had to be started.
#[test]
fn a_server_in_sqlite_is_refused_by_name_and_one_with_etcd_is_not() {
    let plan = plan();
    let mut findings = findings(&plan, &crate::testing::secrets());
    for (_, facts) in &mut findings.servers {
        facts.data = "data=yes\nmembers=\nend\n".into();
    }
    assert_eq!(in_sqlite(&findings.servers), None);
    findings.servers[1].1.data = "data=sqlite\nmembers=\nend\n".into();
    let failure = in_sqlite(&findings.servers).unwrap();
    assert_eq!(failure.code, Code::Sqlite);
    let (what, hint) = (failure.to_string(), failure.hint.unwrap());
    assert!(what.contains("k3s-cp-2") && !what.contains("k3s-cp-1"));
    assert!(hint.contains("cluster-init: true") && hint.contains("k3s-uninstall.sh"));
    // A part of an answer is neither.
    findings.servers[1].1.data = "data=sqlite\n".into();
    assert_eq!(in_sqlite(&findings.servers), None);
}

/// Marks are as old as the last `init`; the servers may have been upgraded since.
#[test]
fn the_version_that_all_servers_were_upgraded_to_is_recorded() {
    let plan = plan();
    let mut findings = findings(&plan, &crate::testing::secrets());
    let version = |findings: &Findings| findings.decisions(plan.servers.clone()).k3s_version;
    assert_eq!(version(&findings).as_deref(), Some("v1.34.4+k3s1"));
    let has = |version: &str| {
        format!("data=yes\nmembers=\nrunning={version}\ninstalled=k3s version {version} (a)\nend\n")
    };
    for (_, facts) in &mut findings.servers {
        facts.data = has("v1.34.5+k3s1");
    }
    assert_eq!(version(&findings).as_deref(), Some("v1.34.5+k3s1"));
    findings.servers[0].1.data = has("v1.34.4+k3s1");
    assert_eq!(version(&findings).as_deref(), Some("v1.34.4+k3s1"));
    // A host that was off kept an older mark.
    let mut newer = plan.clone();
    newer.k3s.version = "v1.34.4+k3s10".into();
    findings.hosts[1].mark = newer.mark("ryzen");
    assert_eq!(version(&findings).as_deref(), Some("v1.34.4+k3s10"));
}

/// Whatever lies on a host or a server is taken for each of what an import reads.
#[test]
fn fuzz_import() {
    const SAMPLES: &[&str] = &[
        "config:\n  host_groups:\n  - name: k3s-cp\n    storage_size: 25G\n    count: 3\n    vcpu: 2\n    ram_gb: 4\n    network:\n      bridge: brk3s-cp0\n      tap_prefix: k3s-cp\n      gateway: 192.168.137.1/24\n  image: x\n  api:\n    port: 8080\n    bind_address: 127.0.0.1\n",
        "ExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--cluster-init' \\\n\t'--tls-san' \\\n\t'192.168.137.2' \\\n\nK3S_TOKEN='x'\n",
        "[global]\ndefault-max-size=10\n[nodegroup \"a\"]\nmax-size=4\n",
        r#"{"chart":{"metadata":{"version":"9.52.1"}},"config":{"image":{"repository":"x/y","tag":"z@sha256:ab"},"extraArgs":{"v":2,"ignore":["a",1]}}}"#,
        r#"{"version":1,"cluster":"home","host":"n100","daemons":[],"servers":[],"cluster_cidr":"10.42.0.0/16","service_cidr":"10.43.0.0/16","k3s_version":"v1"}"#,
    ];
    let found = crate::facts::FoundDaemon {
        directory: "/home/alex".into(),
        config: "/home/alex/k3s-cp.yaml".into(),
        ..crate::facts::FoundDaemon::default()
    };
    crate::fuzz::fuzz("import", SAMPLES, move |text| {
        let mut shown = Vec::new();
        match ExistingCluster::read("n100", &found, text) {
            Ok(made) => shown.extend(made.vms().map(|vm| vm.name)),
            Err(failure) => shown.push(crate::escape::escape(&failure.to_string())),
        }
        let words = k3s::arguments(text);
        let _ = k3s::as_config(&words);
        let _ = cloud_config::sizes(text, "a");
        let _ = Autoscaler::of_release(text, text);
        let _ = Autoscaler::read(text, text);
        shown.extend(k3s::overrules(text, text).map(|why| crate::escape::escape(&why)));
        let mark = Mark::read("n100", "home", text).err();
        shown.extend(mark.map(|failure| crate::escape::escape(&failure.to_string())));
        shown
    });
}

fn unusual() -> (Plan, Secrets) {
    let mut plan = plan();
    let secrets = Secrets::generate("home").unwrap();
    plan.ssh_keys = vec![Secrets::generate("alex").unwrap().ssh_public_key];
    plan.daemons[0].cpu = 3;
    plan.daemons[0].max = 0;
    plan.daemons[1].min = 1;
    plan.k3s
        .extra
        .insert("kubelet-arg".into(), json!(["max-pods=200"]));
    plan.k3s.taint = true;
    let mirrors = json!({"docker.io": {"endpoint": ["https://mirror.lan"]}});
    let configs =
        json!({"mirror.lan": {"auth": {"username": "me", "password": "5ecre7-of-the-mirror"}}});
    plan.k3s.registries.insert("mirrors".into(), mirrors);
    plan.k3s.registries.insert("configs".into(), configs);
    let without = format!("{},git.lan", crate::plan::NO_PROXY.join(","));
    plan.k3s.environment = [
        (
            "HTTPS_PROXY".to_owned(),
            "http://me:5ecre7'@10.0.0.1:3128".to_owned(),
        ),
        ("NO_PROXY".to_owned(), without),
    ]
    .into();
    plan.autoscaler.expander = "least-waste".into();
    plan.autoscaler.digest = Some("sha256:ab".into());
    plan.autoscaler.args.insert("v".into(), json!(2));
    plan.autoscaler
        .values
        .insert("priorityClassName".into(), json!("x"));
    (plan, secrets)
}

fn rebuilt(findings: &Findings) -> (String, State, Plan) {
    let state = findings.state().unwrap();
    let facts: Vec<HostFacts> = findings
        .hosts
        .iter()
        .map(|host| host.facts.clone())
        .collect();
    let decide = |text: &str| {
        let config = config::parse(text, "cluster.toml").unwrap();
        crate::plan::decide(&config, &state.decisions, &facts, &[], "").unwrap()
    };
    let first = text(findings, &Default::default()).unwrap().text;
    let extras = findings.autoscaler().unwrap().extras(&decide(&first));
    let full = text(findings, &extras).unwrap().text;
    let plan = decide(&full);
    (full, state, plan)
}

/// Whatever was decided and said: the next run must find nothing to change.
#[test]
fn what_was_lost_comes_back_whole() {
    let (before, secrets) = unusual();
    let mut findings = findings(&before, &secrets);
    findings.put_in_order();
    let (text, state, mut after) = rebuilt(&findings);
    assert_eq!(state.secrets.server_token, secrets.server_token);
    assert_eq!(state.secrets.agent_token, secrets.agent_token);
    assert_eq!(state.secrets.ssh_public_key, secrets.ssh_public_key);
    assert_ne!(
        state.secrets.own_public_key().unwrap(),
        secrets.ssh_public_key
    );
    assert_eq!(state.decisions, before.decisions(&Decisions::default()));
    for daemon in &mut after.daemons {
        let old = before.daemon(&daemon.group).unwrap();
        assert_eq!(daemon, old, "{text}");
    }
    assert_eq!(after.servers, before.servers);
    assert_eq!(after.k3s, before.k3s, "{text}");
    assert_eq!(after.autoscaler, before.autoscaler, "{text}");
    assert_eq!(after.ssh_keys, before.ssh_keys);
    assert_eq!(
        generate::values(&after, "abc"),
        generate::values(&before, "abc")
    );
}

#[test]
fn the_file_says_what_is_not_the_default_and_no_more() {
    let secrets = Secrets::generate("home").unwrap();
    let mut plan = plan();
    plan.ssh_keys.clear();
    let mut findings = findings(&plan, &secrets);
    findings.put_in_order();
    let (text, ..) = rebuilt(&findings);
    for line in [
        "hosts = [\"n100\"]",
        "servers = 3",
        "ssh = \"alex@192.168.1.12\"",
        "disable = [\"traefik\", \"servicelb\"]",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for word in ["autoscaler", "cidr", "ssh-keys", "tap", "storage", "args"] {
        assert!(!text.contains(word), "{word} is in\n{text}");
    }
    let order = |host: &str| text.find(&format!("[hosts.{host}]")).unwrap();
    assert!(
        order("ryzen") < order("n100"),
        "the autoscaler's order is lost"
    );
}

/// A host that was forgotten would lose its group and its routes at the next `init`.
#[test]
fn a_host_that_was_not_named_is_missed() {
    let mut findings = findings(&plan(), &Secrets::generate("home").unwrap());
    assert!(findings.missing().is_empty());
    findings.hosts.truncate(1);
    assert_eq!(findings.missing(), [Ipv4Addr::new(192, 168, 1, 12)]);
}

/// Once a second server votes no file says which server founded the cluster.
#[test]
fn the_first_server_is_the_one_that_the_others_name() {
    let mut plan = plan();
    plan.founded = Some(crate::plan::Founded {
        ca: "ca".repeat(32),
        voters: plan
            .servers
            .iter()
            .map(|server| server.name.clone())
            .collect(),
    });
    let mut secrets = crate::testing::secrets();
    secrets.ssh_public_key += " slicer-k3s-home";
    let mut findings = findings(&plan, &secrets);
    findings.servers.reverse();
    let state = findings.state().unwrap();
    assert_eq!(state.decisions.servers, plan.servers);
    assert_eq!(state.decisions.founded, plan.founded);
    // Of two that name each other it is the one whose name comes first.
    findings.servers.retain(|(name, _)| name != "k3s-cp-3");
    assert_eq!(
        findings.state().unwrap().decisions.servers[0].name,
        "k3s-cp-1"
    );
}

#[test]
fn a_mark_that_does_not_agree_with_itself_is_refused() {
    let mark = generate::host_mark(&plan(), "n100").unwrap().content;
    assert!(Mark::read("x", "home", &mark).is_ok());
    let mut other: Value = serde_json::from_str(&mark).unwrap();
    other["servers"][0]["host"] = json!("pi");
    for text in [
        mark.replace("\"version\": 2", "\"version\": 3"),
        mark.replace("\"group\": \"k3s-cp\"", "\"group\": \"../x\""),
        other.to_string(),
        "{}".to_owned(),
    ] {
        assert_eq!(
            Mark::read("x", "home", &text).unwrap_err().code,
            Code::RecordConflict
        );
    }
}
