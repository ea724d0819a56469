use std::fmt::Write as _;

use insta::assert_snapshot;

use super::*;
use crate::config::{self, Config};
use crate::failure::Failure;

const VERSION: &str = "v1.34.4+k3s1";

/// A survey as a plain host prints it.
struct Machine {
    name: &'static str,
    address: &'static str,
    arch: &'static str,
    cores: u32,
    ram_gb: u64,
    extra_addresses: Vec<(&'static str, &'static str)>,
    routes: Vec<&'static str>,
    ports: Vec<u16>,
    more: String,
    kvm: bool,
}

fn machine(name: &'static str, address: &'static str) -> Machine {
    Machine {
        name,
        address,
        arch: "x86_64",
        cores: 8,
        ram_gb: 32,
        extra_addresses: Vec::new(),
        routes: Vec::new(),
        ports: vec![22],
        more: String::new(),
        kvm: true,
    }
}

impl Machine {
    fn survey(&self) -> String {
        let mut links = vec![("eth0", self.address)];
        links.extend(&self.extra_addresses);
        let json: Vec<String> = links
            .iter()
            .map(|(name, net)| {
                let (address, prefix) = net.split_once('/').unwrap();
                format!(r#"{{"ifname":"{name}","addr_info":[{{"local":"{address}","prefixlen":{prefix}}}]}}"#)
            })
            .collect();
        let mut routes = vec![r#"{"dst":"default","dev":"eth0"}"#.to_owned()];
        routes.extend(
            self.routes
                .iter()
                .map(|net| format!(r#"{{"dst":"{net}","dev":"eth0"}}"#)),
        );
        let (mut ports, mut interfaces) = (String::new(), String::new());
        for port in &self.ports {
            let _ = writeln!(ports, " {port:04X}");
        }
        for (name, _) in &links {
            let _ = writeln!(interfaces, " {name}");
        }
        let address = self.address.split('/').next().unwrap();
        format!(
            "== arch\n {}\n== model\n Box\n== os\n \"Debian 12\"\n== cores\n {}\n== memory\n {} kB\n\
             == disk\n /dev/sda1 500000000 100000000 400000000 20% /\n== kvm\n {}\n== systemd\n yes\n\
             == forwarding\n 1\n== addresses\n [{}]\n== routes\n [{}]\n== interfaces\n{interfaces}== ports\n{ports}\
             == identity\n id-{}\n boot\n== clock\n 1700000000\n== slicer\n Client: 0.1.71\n installed\n\
             == licences\n /home/alex/.slicer/LICENSE\n== ssh\n 192.168.1.10 50000 {address} 22\n{}== end\n",
            self.arch,
            self.cores,
            self.ram_gb * 1024 * 1024 - 300_000,
            if self.kvm { "yes" } else { "no" },
            json.join(","),
            routes.join(","),
            self.name,
            self.more,
        )
    }

    fn facts(&self) -> HostFacts {
        HostFacts::parse(self.name, &self.survey()).unwrap()
    }
}

fn three() -> (Config, Vec<HostFacts>) {
    let config = parsed(
        "name='home'\ncontrol-plane.host='n100'\n[hosts.n100]\nssh='a'\n[hosts.ryzen]\nssh='b'\n[hosts.pi5]\nssh='c'",
    );
    let pi5 = Machine {
        arch: "aarch64",
        cores: 4,
        ram_gb: 16,
        ..machine("pi5", "192.168.1.13/24")
    };
    let facts = vec![
        machine("n100", "192.168.1.11/24").facts(),
        machine("ryzen", "192.168.1.12/24").facts(),
        pi5.facts(),
    ];
    (config, facts)
}

fn parsed(text: &str) -> Config {
    config::parse(text, "cluster.toml").unwrap()
}

fn plan(config: &Config, decisions: &Decisions, facts: &[HostFacts]) -> Plan {
    decide(config, decisions, facts, &[], VERSION).unwrap()
}

fn refusals(config: &Config, decisions: &Decisions, facts: &[HostFacts]) -> String {
    told(&decide(config, decisions, facts, &[], VERSION).unwrap_err())
}

fn told(failures: &[Failure]) -> String {
    let lines: Vec<String> = failures
        .iter()
        .map(|failure| {
            format!(
                "{} {failure} ({})",
                failure.code.name(),
                failure.hint.as_deref().unwrap_or("-")
            )
        })
        .collect();
    lines.join("\n")
}

/// What two plans must share, whatever the reasons say.
fn silent(mut plan: Plan) -> Plan {
    plan.reasons.clear();
    plan
}

#[test]
fn three_hosts_as_in_the_manual() {
    let (config, facts) = three();
    let plan = plan(&config, &Decisions::default(), &facts);
    let text = render(&plan);
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
    assert_eq!(
        silent(plan(&config, &decisions, &facts)),
        silent(first.clone())
    );
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
    assert_eq!(silent(plan(&config, &decisions, &seen)), silent(first));
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
fn unfit_hosts_are_told_all_at_once() {
    let (config, mut facts) = three();
    facts[0].ram_bytes = 8 << 30;
    facts[1].kvm = false;
    facts[1].systemd = false;
    facts[2].disk_free_bytes = 1_000_000_000;
    facts[2].identity = facts[1].identity.clone();
    facts[2]
        .addresses
        .push(("cni0".to_owned(), "10.42.0.1/24".parse().unwrap()));
    assert_snapshot!(refusals(&config, &Decisions::default(), &facts), @r#"
    host-unfit n100 has too little RAM: 3 × 4 GB for servers, 8 GB in all (set `ram-gb = 2` or `servers = 1` in [control-plane] of cluster.toml)
    host-unfit ryzen cannot run microVMs: /dev/kvm does not exist (enable virtualisation in the firmware of ryzen; then, on ryzen: sudo modprobe kvm_intel || sudo modprobe kvm_amd)
    host-unfit ryzen is not run by systemd: /run/systemd/system does not exist (Slicer's daemons are systemd units: use a distribution with systemd)
    host-unfit pi5 has too little disk: 5 GB are needed to begin with (1 × 5), 1 GB are free where /var/lib/slicer-k3s will be (free some, or mount a disk; on pi5: df -h /var/lib)
    plan-conflict k3s's cluster-cidr 10.42.0.0/16 overlaps cni0 of pi5: pi5 has the address 10.42.0.1/24 (set another `cluster-cidr` in [k3s] of cluster.toml (or remove the k3s that runs on pi5 itself))
    plan-conflict ryzen and pi5 are the same machine: they have one machine id and one boot id (remove [hosts.pi5] from cluster.toml)
    "#);
}

#[test]
fn hosts_without_a_common_network_are_told() {
    let (config, mut facts) = three();
    facts[1].addresses = vec![("eth0".to_owned(), "10.1.1.2/24".parse().unwrap())];
    facts[2].addresses = vec![("eth0".to_owned(), "192.168.1.11/24".parse().unwrap())];
    assert_snapshot!(refusals(&config, &Decisions::default(), &facts), @r#"
    plan-conflict n100 (192.168.1.11/24) and ryzen (10.1.1.2/24) are not on one network: routes between their VMs need each host as a gateway on the link (give `lan-address` of both in cluster.toml, or connect them to one LAN)
    plan-conflict n100 and pi5 have one LAN address: 192.168.1.11 (correct `ssh` or `lan-address` of one of them in cluster.toml)
    plan-conflict ryzen (10.1.1.2/24) and pi5 (192.168.1.11/24) are not on one network: routes between their VMs need each host as a gateway on the link (give `lan-address` of both in cluster.toml, or connect them to one LAN)
    "#);
}

#[test]
fn edits_that_contradict_what_exists_are_told() {
    let (config, facts) = three();
    let decisions = plan(&config, &Decisions::default(), &facts).decisions(&Decisions::default());
    let edited = parsed(
        "name='home'\n[control-plane]\nhost='ryzen'\nservers=1\n[hosts.n100]\nssh='a'\n[hosts.ryzen]\nssh='b'\nworkers={cidr='10.5.0.0/24'}\n[k3s]\nversion='v1.35.0+k3s1'\ncluster-cidr='10.52.0.0/16'",
    );
    assert_snapshot!(refusals(&edited, &decisions, &facts[..2]), @r#"
    plan-conflict cidr of group k3s-agent-1 on ryzen is 192.168.138.0/24, cluster.toml asks for 10.5.0.0/24: it was decided when the group was made, and its VMs carry it (set `cidr` back in [hosts.ryzen.workers] of cluster.toml, or leave it out)
    plan-conflict home has 3 servers, cluster.toml asks for 1: their number is decided once: it changes what every server is told (set `servers = 3` in [control-plane] of cluster.toml)
    plan-conflict servers run on n100, which cluster.toml no longer names for them: a server does not move: its etcd member and its network are its host's (put "n100" back into [control-plane] of cluster.toml)
    plan-conflict the servers run k3s v1.34.4+k3s1, cluster.toml asks for v1.35.0+k3s1: init does not change the version of a running cluster (set `version = "v1.34.4+k3s1"` in [k3s] of cluster.toml, or leave it out)
    plan-conflict k3s's networks cannot be changed any more: the cluster has 10.42.0.0/16 and 10.43.0.0/16 (put them back as `cluster-cidr` and `service-cidr` in [k3s] of cluster.toml)
    "#);
}

#[test]
fn choices_that_clash_with_what_is_there_are_told() {
    let config = parsed(
        "name='x'\n[hosts.box]\nssh='local'\nworkers={cidr='192.168.1.0/24', api-port=22, tap-prefix='eth', max=250}\n[k3s]\ncluster-cidr='10.42.0.0/18'",
    );
    let facts = [machine("box", "192.168.1.10/24").facts()];
    assert_snapshot!(refusals(&config, &Decisions::default(), &facts), @r#"
    plan-conflict port 22 of box is taken: something listens there already; group k3s-agent-1 is to have it (choose another `api-port` in [hosts.box.workers] of cluster.toml; on box: sudo ss -ltnp)
    plan-conflict tap prefix eth cannot be used on box: an interface there begins with it (choose another `tap-prefix` in [hosts.box.workers] of cluster.toml)
    plan-conflict network 192.168.1.0/24 of group k3s-agent-1 on box is in use: eth0 of box has the address 192.168.1.10/24 (choose another `cidr` in cluster.toml for a new group; for one that exists, change the other network)
    plan-conflict 253 nodes do not fit into the pods' network: 10.42.0.0/18 holds 63 nodes (lower `max` of some workers, or choose a wider `cluster-cidr` in [k3s] of cluster.toml)
    "#);
}

#[test]
fn a_cluster_of_the_same_name_made_elsewhere_is_not_overwritten() {
    let config = parsed("name='home'\n[hosts.box]\nssh='local'");
    let mut host = machine("box", "192.168.1.10/24");
    host.more = "== daemon\n /etc/systemd/system/slicer-k3s-cp.service\n== daemon-directory\n /var/lib/slicer-k3s/home/k3s-cp\n== daemon-yaml\n config: {host_groups: [{name: k3s-cp}]}\n".to_owned();
    assert_snapshot!(refusals(&config, &Decisions::default(), &[host.facts()]), @r#"
    plan-conflict box runs group k3s-cp of a cluster called home that this workstation has no record of: its tokens and decisions lie in the state directory of the workstation that made it (run slicer-k3s there, or give this cluster another `name` in cluster.toml)
    "#);
}

#[test]
fn nothing_begins_without_the_servers_host() {
    let (config, facts) = three();
    let absent = [("n100".to_owned(), "connection refused".to_owned())];
    let failures = decide(
        &config,
        &Decisions::default(),
        &facts[1..],
        &absent,
        VERSION,
    )
    .unwrap_err();
    assert_snapshot!(told(&failures), @r#"
    plan-conflict n100 is to run servers but cannot be looked at: connection refused (bring n100 up, or name another host in [control-plane] of cluster.toml)
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
