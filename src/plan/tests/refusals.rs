//! What is refused, all at once, and what is said about it.

use insta::assert_snapshot;

use super::*;

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

/// It came to light in the middle of a run, and then as a line of the journal every ten seconds.
#[test]
fn servers_on_several_hosts_need_nft() {
    let text = "name='home'\ncontrol-plane.hosts=['n100','ryzen','pi5']\n[hosts.n100]\nssh='a'\n[hosts.ryzen]\nssh='b'\n\
                [hosts.pi5]\nssh='c'";
    let (one, mut facts) = three();
    facts[1].lacks.push("nft".into());
    let spread = refusals(&parsed(text), &Decisions::default(), &facts);
    assert!(
        spread.contains("host-unfit ryzen") && spread.contains("nftables"),
        "{spread}"
    );
    assert!(decide(&one, &Decisions::default(), &facts, &[], "v1.34.4+k3s1").is_ok());
}

#[test]
fn hosts_without_a_common_network_are_told() {
    let (config, mut facts) = three();
    facts[1].addresses = vec![("eth0".to_owned(), "10.1.1.2/24".parse().unwrap())];
    facts[2].addresses = vec![("eth0".to_owned(), "192.168.1.11/24".parse().unwrap())];
    assert_snapshot!(refusals(&config, &Decisions::default(), &facts), @r#"
    plan-conflict n100 and pi5 have one LAN address: 192.168.1.11 (correct `ssh` or `lan-address` of one of them in cluster.toml)
    plan-conflict ryzen (10.1.1.2/24) and n100 (192.168.1.11/24) are not on one network: packets between their VMs need each host as a gateway on the link, or another host with an address in both networks (give `lan-address` of both in cluster.toml, connect them to one LAN, or enrol the machine between them as a host)
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
    plan-conflict pi5 is no longer in cluster.toml, but was not removed: it runs k3s-agent-2, with Nodes in the cluster (put [hosts.pi5] back, then slicer-k3s remove-host pi5, with --gone where it is dead)
    plan-conflict the servers run k3s v1.34.4+k3s1, cluster.toml asks for v1.35.0+k3s1: init does not change the version of a running cluster (set `version = "v1.34.4+k3s1"` in [k3s] of cluster.toml, or leave it out)
    plan-conflict k3s's networks cannot be changed any more: the cluster has 10.42.0.0/16 and 10.43.0.0/16 (put them back as `cluster-cidr` and `service-cidr` in [k3s] of cluster.toml)
    "#);
}

/// The servers were upgraded by hand: cluster.toml may ask for what they have, and for nothing else.
#[test]
fn an_upgraded_version_is_the_only_one_that_may_be_asked_for() {
    let (config, facts) = three();
    let mut plan = plan(&config, &Decisions::default(), &facts);
    plan.upgraded("v1.34.5+k3s1", "the servers were upgraded");
    assert_eq!(plan.k3s.version, "v1.34.5+k3s1");
    let told: Vec<_> = plan
        .reasons
        .iter()
        .filter(|(what, _)| what == "k3s")
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1, "v1.34.5+k3s1: the servers were upgraded");
    let decisions = plan.decisions(&Decisions::default());
    assert_eq!(decisions.k3s_version.as_deref(), Some("v1.34.5+k3s1"));
    assert_eq!(plan.mark("n100").k3s_version, "v1.34.5+k3s1");
    assert_eq!(
        crate::plan::other_version("v1.34.5+k3s1", "v1.34.5+k3s1"),
        None
    );
    let failure = crate::plan::other_version("v1.34.5+k3s1", "v1.34.4+k3s1").unwrap();
    assert!(
        failure
            .hint
            .unwrap()
            .contains("`version = \"v1.34.5+k3s1\"`")
    );
}

/// An only host runs agents unasked; the second host written beside it must not take them away silently.
#[test]
fn a_second_host_does_not_end_the_agents_of_the_first() {
    let (_, facts) = three();
    let only = parsed("name='home'\n[hosts.n100]\nssh='a'");
    let decisions =
        plan(&only, &Decisions::default(), &facts[..1]).decisions(&Decisions::default());
    let two = "name='home'\n[control-plane]\nhost='n100'\n[hosts.n100]\nssh='a'\nWORKERS\n[hosts.ryzen]\nssh='b'";
    let silent = parsed(&two.replace("WORKERS", ""));
    assert_snapshot!(refusals(&silent, &decisions, &facts[..2]), @"plan-conflict n100 is to run no agents any more, but has group k3s-agent-1: beside other hosts a host of servers runs agents only where cluster.toml says so (say `workers = true` in [hosts.n100] to keep them; slicer-k3s remove-host n100 --agents takes them away)");
    plan(
        &parsed(&two.replace("WORKERS", "workers=true")),
        &decisions,
        &facts[..2],
    );
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

/// The LAN's addresses are on every host: one mistake is one error.
#[test]
fn a_network_that_all_hosts_are_in_is_told_once() {
    let (_, facts) = three();
    let config = parsed(
        "name='home'\ncontrol-plane.host='n100'\n[hosts.n100]\nssh='a'\n[hosts.ryzen]\nssh='b'\nworkers={cidr='192.168.1.0/24'}\n[hosts.pi5]\nssh='c'",
    );
    assert_snapshot!(refusals(&config, &Decisions::default(), &facts), @"plan-conflict network 192.168.1.0/24 of group k3s-agent-1 on ryzen is in use: eth0 of n100 has the address 192.168.1.11/24; eth0 of ryzen has the address 192.168.1.12/24; eth0 of pi5 has the address 192.168.1.13/24 (choose another `cidr` in cluster.toml for a new group; for one that exists, change the other network)");
}

#[test]
fn a_cluster_of_the_same_name_made_elsewhere_is_not_overwritten() {
    let config = parsed("name='home'\n[hosts.box]\nssh='local'");
    let mut host = machine("box", "192.168.1.10/24");
    host.more = "== daemon\n /etc/systemd/system/slicer-k3s-cp.service\n== daemon-directory\n /var/lib/slicer-k3s/home/k3s-cp\n== daemon-yaml\n config: {host_groups: [{name: k3s-cp}]}\n".to_owned();
    assert_snapshot!(refusals(&config, &Decisions::default(), &[host.facts()]), @"record-conflict box runs a cluster called home already, which this workstation has no record of: its tokens and decisions lie in the state directory of the workstation that made it (slicer-k3s import gets them from the hosts; for another cluster, change `name` in cluster.toml)");
}

/// `remove-host --agents` was refused: the group that it was to take away counted as somebody else's.
#[test]
fn a_group_that_is_to_go_is_no_sign_of_another_cluster() {
    let config = parsed("name='home'\n[hosts.box]\nssh='local'\nworkers=false");
    let both = parsed("name='home'\n[hosts.box]\nssh='local'");
    let mut host = machine("box", "192.168.1.10/24");
    let decided = plan(&both, &Decisions::default(), &[host.facts()]);
    let rest = decided
        .decisions(&Decisions::default())
        .without_agents("box");
    host.more = "== daemon\n /etc/systemd/system/slicer-k3s-agent-1.service\n== daemon-directory\n /var/lib/slicer-k3s/home/k3s-agent-1\n\
        == daemon-yaml\n config: {host_groups: [{name: k3s-agent-1}]}\n".to_owned();
    let mut facts = [host.facts()];
    assert!(refusals(&config, &rest, &facts).contains("another record"));
    facts[0].ignore(&["k3s-agent-1"]);
    assert_eq!(plan(&config, &rest, &facts).workers().count(), 0);
}

#[test]
fn a_machine_keeps_the_name_it_was_enrolled_under() {
    let config = parsed("name='home'\n[hosts.box]\nssh='local'");
    let mut host = machine("box", "192.168.1.10/24");
    host.more = "== mark-name\n home\n== mark\n {\"host\": \"n100\"}\n".to_owned();
    assert_snapshot!(refusals(&config, &Decisions::default(), &[host.facts()]), @"plan-conflict box is enrolled already, under the name n100: its mark /etc/slicer-k3s/home.json says so (call it [hosts.n100] in cluster.toml; or slicer-k3s remove-host n100 first, then add it by its new name)");
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
    assert_snapshot!(told(&failures), @"ssh-unreachable n100 is to run servers but cannot be looked at: connection refused (bring n100 up, or name another host in [control-plane] of cluster.toml)");
}
