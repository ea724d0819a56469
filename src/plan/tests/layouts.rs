//! What is decided, and that it stays.

use insta::assert_snapshot;

use super::*;

#[test]
fn three_hosts_as_in_the_manual() {
    let (config, facts) = three();
    let plan = plan(&config, &Decisions::default(), &facts);
    let text = crate::report::plan(&plan);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert_snapshot!(text, @r#"
    HOST   LAN ADDRESS   ARCH     SLICER
    n100   192.168.1.11  x86_64   installed
    ryzen  192.168.1.12  x86_64   installed
    pi5    192.168.1.13  aarch64  installed

    GROUP        HOST   VMS         EACH        NETWORK           API
    k3s-cp       n100   3 servers   2 CPU 4 GB  192.168.137.0/24  127.0.0.1:8080
    k3s-agent-1  ryzen  0–8 agents  2 CPU 4 GB  192.168.138.0/24  0.0.0.0:8081
    k3s-agent-2  pi5    0–4 agents  2 CPU 4 GB  192.168.139.0/24  0.0.0.0:8082

    n100: Box, x86_64, 8 cores, 32 GB RAM, 409 GB free, Debian 12
    n100 address: 192.168.1.11: SSH reaches it there
    ryzen: Box, x86_64, 8 cores, 32 GB RAM, 409 GB free, Debian 12
    ryzen address: 192.168.1.12: SSH reaches it there
    pi5: Box, aarch64, 4 cores, 16 GB RAM, 409 GB free, Debian 12
    pi5 address: 192.168.1.13: SSH reaches it there
    k3s-cp network: 192.168.137.0/24: the first that no host has an address in or a
      route to
    k3s-agent-1 network: 192.168.138.0/24: the first that no host has an address in
      or a route to
    k3s-agent-1 max: 8: 32 GB RAM by 4, 2 × 8 cores by 2
    k3s-agent-2 network: 192.168.139.0/24: the first that no host has an address in
      or a route to
    k3s-agent-2 max: 4: 16 GB RAM by 4, 2 × 4 cores by 2
    k3s: v1.34.4+k3s1: what the stable channel says now
    autoscaler: ghcr.io/openfaasltd/cluster-autoscaler-slicer:latest, by its tag:
      the registry did not tell its digest
    availability: all servers run on n100: the cluster outlives any agent host, but
      not n100
    licence: 3 Slicer daemons in all; Individual and Team licences allow 2 at once a
      seat
    "#);
    let names: Vec<_> = plan
        .servers
        .iter()
        .map(|server| (server.name.as_str(), server.address.to_string()))
        .collect();
    assert_eq!(names[0], ("k3s-cp-1", "192.168.137.2".to_owned()));
    assert_eq!(names[2], ("k3s-cp-3", "192.168.137.4".to_owned()));
    assert_eq!(
        plan.daemon("k3s-agent-2").unwrap().max,
        4,
        "a 16 GB Pi 5 makes 4 VMs of 4 GB"
    );
    assert!(
        plan.daemons
            .iter()
            .all(|daemon| daemon.bridge().len() <= 15)
    );
}

#[test]
fn one_daemon_may_serve_servers_and_agents() {
    let shared = parsed("name='x'\n[hosts.box]\nssh='local'\nshare-daemon=true");
    let facts = [machine("box", "10.0.0.5/24").facts()];
    let plan = plan(&shared, &Decisions::default(), &facts);
    let [servers, agents] = plan.daemons.as_slice() else {
        panic!("{:?}", plan.daemons);
    };
    assert_eq!(agents.shares.as_deref(), Some("k3s-cp"));
    assert_eq!(
        (agents.api_port, agents.unit()),
        (servers.api_port, servers.unit())
    );
    assert!(
        servers.api_bind.is_unspecified(),
        "the autoscaler reaches it, too"
    );
    assert!(agents.url().ends_with(":8080"), "{}", agents.url());
    assert_eq!(plan.directory(agents), "/var/lib/slicer-k3s/x/k3s-cp");
    let decisions = plan.decisions(&Decisions::default());
    // VMs and disks lie where they were made.
    let apart = parsed("name='x'\n[hosts.box]\nssh='local'");
    let told = refusals(&apart, &decisions, &facts);
    assert!(
        told.contains(
            "share-daemon of group k3s-agent-1 on box is true, cluster.toml asks for false"
        ),
        "{told}"
    );
    assert_eq!(super::plan(&shared, &decisions, &facts), plan);
}

#[test]
fn an_only_host_gets_two_groups_with_two_ports() {
    let config = parsed("name='x'\n[hosts.box]\nssh='local'");
    let plan = plan(
        &config,
        &Decisions::default(),
        &[machine("box", "10.0.0.5/24").facts()],
    );
    let ports: Vec<_> = plan
        .daemons
        .iter()
        .map(|daemon| (daemon.api_bind.to_string(), daemon.api_port))
        .collect();
    assert_eq!(
        ports,
        [("127.0.0.1".to_owned(), 8080), ("0.0.0.0".to_owned(), 8081)]
    );
    // 32 GB − 3 × 4 GB leave 5; 2 × 8 cores − 3 × 2 leave 5.
    assert_eq!(plan.daemons[1].max, 5);
}

#[test]
fn spread_servers_get_a_group_each() {
    let config = parsed(
        "name='home'\ncontrol-plane.hosts=['a','b','c']\n[hosts.a]\nssh='a'\n[hosts.b]\nssh='b'\n[hosts.c]\nssh='c'\nworkers=true",
    );
    let facts = [
        machine("a", "10.0.0.1/24").facts(),
        machine("b", "10.0.0.2/24").facts(),
        machine("c", "10.0.0.3/24").facts(),
    ];
    let plan = plan(&config, &Decisions::default(), &facts);
    let servers: Vec<_> = plan
        .servers
        .iter()
        .map(|s| format!("{} {} {}", s.name, s.host, s.address))
        .collect();
    assert_snapshot!(servers.join("\n"), @r#"
    k3s-cp-a-1 a 192.168.137.2
    k3s-cp-b-1 b 192.168.138.2
    k3s-cp-c-1 c 192.168.139.2
    "#);
    assert_eq!(plan.daemons_of("c").count(), 2);
    assert_eq!(plan.workers().count(), 1);
}

#[test]
fn what_was_decided_stays_also_when_its_own_traces_are_seen() {
    let (config, facts) = three();
    let first = plan(&config, &Decisions::default(), &facts);
    let decisions = first.decisions(&Decisions::default());
    assert_eq!(plan(&config, &decisions, &facts), first);
    // Now the daemons run: bridges, routes, ports and units are there.
    let mut n100 = machine("n100", "192.168.1.11/24");
    n100.extra_addresses.push(("brk3s-cp0", "192.168.137.1/24"));
    n100.routes
        .extend(["192.168.137.0/24", "192.168.138.0/24", "192.168.139.0/24"]);
    n100.ports.push(8080);
    n100.more = "== daemon\n /etc/systemd/system/slicer-k3s-cp.service\n== daemon-directory\n /var/lib/slicer-k3s/home/k3s-cp\n\
        == daemon-licence\n \n== daemon-yaml\n config:\n   host_groups:\n   - name: k3s-cp\n     network: {gateway: 192.168.137.1/24, tap_prefix: k3scp}\n   api: {port: 8080}\n".to_owned();
    let mut seen = facts.clone();
    seen[0] = n100.facts();
    assert_eq!(seen[0].daemons[0].cluster(), Some("home"));
    assert_eq!(seen[0].foreign_groups, Vec::<String>::new());
    assert_eq!(plan(&config, &decisions, &seen), first);
}

#[test]
fn what_is_only_seen_makes_no_new_plan() {
    let (config, mut facts) = three();
    let first = plan(&config, &Decisions::default(), &facts);
    facts[0].disk_free_bytes /= 2;
    facts[1].slicer = None;
    assert_eq!(plan(&config, &Decisions::default(), &facts), first);
    facts[2].ram_bytes /= 2;
    assert_ne!(plan(&config, &Decisions::default(), &facts), first);
}

#[test]
fn another_host_changes_nothing_else() {
    let (config, facts) = three();
    let first = plan(&config, &Decisions::default(), &facts);
    let decisions = first.decisions(&Decisions::default());
    // In front of all others, on purpose.
    let more = parsed(
        "name='home'\ncontrol-plane.host='n100'\n[hosts.new]\nssh='d'\n[hosts.n100]\nssh='a'\n[hosts.ryzen]\nssh='b'\n[hosts.pi5]\nssh='c'",
    );
    let mut all = facts.clone();
    all.push(machine("new", "192.168.1.14/24").facts());
    let second = plan(&more, &decisions, &all);
    for daemon in &first.daemons {
        assert_eq!(second.daemon(&daemon.group), Some(daemon));
    }
    assert_eq!(second.servers, first.servers);
    let new = second.daemons_of("new").next().unwrap();
    assert_eq!(
        (
            new.group.as_str(),
            new.cidr.to_string().as_str(),
            new.api_port
        ),
        ("k3s-agent-3", "192.168.140.0/24", 8083)
    );
}

#[test]
fn a_host_that_is_off_keeps_what_it_has() {
    let (config, facts) = three();
    let first = plan(&config, &Decisions::default(), &facts);
    let decisions = first.decisions(&Decisions::default());
    let absent = [("pi5".to_owned(), "no route to host".to_owned())];
    let second = decide(&config, &decisions, &facts[..2], &absent, VERSION).unwrap();
    assert_eq!(second.absent, absent);
    assert!(second.daemon("k3s-agent-2").is_none());
    assert_eq!(second.decisions(&decisions), decisions);
    for host in ["n100", "ryzen"] {
        assert_eq!(
            crate::generate::routes(&second, host),
            crate::generate::routes(&first, host),
            "{host} keeps the way to the VMs of the host that is off"
        );
    }
}

#[test]
fn what_others_have_is_avoided() {
    let config = parsed("name='x'\n[hosts.box]\nssh='local'");
    let mut host = machine("box", "192.168.137.10/24");
    host.routes.push("192.168.138.0/23");
    host.ports.extend([8080, 8081]);
    host.extra_addresses.push(("k3sa10", "10.9.0.1/24"));
    host.more = "== daemon\n process 77\n== daemon-directory\n /root\n== daemon-licence\n \n== daemon-yaml\n config:\n   host_groups:\n   - name: k3s-agent-1\n     network: {gateway: 192.168.140.1/24, tap_prefix: k3sa2}\n   api: {port: 8082}\n".to_owned();
    let plan = plan(&config, &Decisions::default(), &[host.facts()]);
    let told: Vec<_> = plan
        .daemons
        .iter()
        .map(|d| format!("{} {} {} {}", d.group, d.cidr, d.api_port, d.tap_prefix))
        .collect();
    assert_snapshot!(told.join("\n"), @r#"
    k3s-cp 192.168.141.0/24 8083 k3scp
    k3s-agent-2 192.168.142.0/24 8084 k3sa3
    "#);
}

#[test]
fn a_lan_address_follows_the_host() {
    let (config, mut facts) = three();
    let decisions = plan(&config, &Decisions::default(), &facts).decisions(&Decisions::default());
    facts[2].addresses = vec![("eth0".to_owned(), "192.168.1.99/24".parse().unwrap())];
    facts[2].ssh_address = Some("100.64.0.9".parse().unwrap());
    let moved = plan(&config, &decisions, &facts);
    assert_eq!(
        moved.host("pi5").unwrap().lan_address.to_string(),
        "192.168.1.99"
    );
    let told = |(_, why): &(String, String)| why.contains("it was 192.168.1.13 before");
    assert!(moved.reasons.iter().any(told));
}
