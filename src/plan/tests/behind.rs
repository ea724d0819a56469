//! Hosts in networks of their own, behind others.

use super::*;
use crate::facts::HostFacts;
use crate::generate::{RouteConsumer, route_table, routes, server_paths, ways};

/// A fleet as in the manual, with `attic` in a network of its own behind ryzen.
fn attic(more: &str) -> (Config, Vec<HostFacts>) {
    let config = parsed(&format!(
        "name='home'\n[hosts.n100]\nssh='a'\n[hosts.ryzen]\nssh='b'\n[hosts.attic]\nssh='c'\njump='b'\n{more}"
    ));
    let ryzen = Machine {
        extra_addresses: vec![("eth1", "10.20.0.1/24")],
        ..machine("ryzen", "192.168.1.12/24")
    };
    let facts = vec![
        machine("n100", "192.168.1.11/24").facts(),
        ryzen.facts(),
        machine("attic", "10.20.0.2/24").facts(),
    ];
    (config, facts)
}

#[test]
fn packets_to_a_host_behind_another_go_through_that_one() {
    let (config, facts) = attic("[control-plane]\nhost='n100'");
    let plan = plan(&config, &Decisions::default(), &facts);
    assert!(
        crate::report::plan(&plan)
            .contains("attic gateway: ryzen, which has 10.20.0.1 in its network")
    );
    let table = |host: &str| route_table(&routes(&plan, host));
    assert_eq!(
        table("n100"),
        "10.20.0.2/32 192.168.1.12\n192.168.138.0/24 192.168.1.12\n192.168.139.0/24 192.168.1.12\n"
    );
    assert_eq!(
        table("ryzen"),
        "192.168.137.0/24 192.168.1.11\n192.168.139.0/24 10.20.0.2\n"
    );
    assert_eq!(
        table("attic"),
        "192.168.1.11/32 10.20.0.1\n192.168.137.0/24 10.20.0.1\n192.168.138.0/24 10.20.0.1\n"
    );
    let router = ways(&plan, &RouteConsumer::Router);
    let agents = router.iter().find(|way| way.host == "attic").unwrap();
    assert_eq!(agents.route.via.to_string(), "192.168.1.12");
    assert_eq!(plan.between("n100", "attic"), ["ryzen"]);
    assert!(plan.between("ryzen", "attic").is_empty());
    assert_eq!(plan.behind("ryzen"), ["attic"]);
}

/// etcd knows its peers by their own addresses: the gateway between must not translate them either.
#[test]
fn servers_behind_another_host_keep_their_addresses_on_it() {
    let (config, facts) = attic("[control-plane]\nhosts=['n100','ryzen','attic']");
    let plan = plan(&config, &Decisions::default(), &facts);
    // To and from its own server, and between those of the others.
    assert_eq!(server_paths(&plan, "ryzen").len(), 2 + 2);
    assert_eq!(server_paths(&plan, "n100").len(), 2);
}

#[test]
fn where_a_host_is_stays_known_while_its_gateway_is_off() {
    let (config, facts) = attic("[control-plane]\nhost='n100'");
    let first = plan(&config, &Decisions::default(), &facts);
    let decisions = first.decisions(&Decisions::default());
    let but = |name: &str| -> Vec<_> {
        let rest = facts.iter().filter(|facts| facts.name != name);
        rest.cloned().collect()
    };
    for off in ["ryzen", "attic"] {
        let absent = [(off.to_owned(), "no answer".to_owned())];
        let plan = decide(&config, &decisions, &but(off), &absent, VERSION).unwrap();
        for host in ["n100", "attic"].iter().filter(|host| **host != off) {
            assert_eq!(
                routes(&plan, host),
                routes(&first, host),
                "{host} without {off}"
            );
        }
        assert_eq!(plan.decisions(&decisions), decisions);
    }
}

/// Two hosts, one of them in both networks: which of them is the LAN must not depend on the file's order.
#[test]
fn the_lan_is_where_the_others_can_be_reached_from() {
    let config = parsed(
        "name='home'\n[control-plane]\nhost='ryzen'\n[hosts.attic]\nssh='c'\n[hosts.ryzen]\nssh='b'",
    );
    let (_, facts) = attic("[control-plane]\nhost='n100'");
    let plan = plan(&config, &Decisions::default(), &facts[1..]);
    let behind = plan.host("attic").unwrap().behind.as_ref().unwrap();
    assert_eq!(behind.gateway, "ryzen");
    assert_eq!(plan.host("ryzen").unwrap().behind, None);
}

#[test]
fn networks_without_a_host_between_are_refused() {
    let (config, mut facts) = attic("[control-plane]\nhost='n100'");
    facts[1] = machine("ryzen", "192.168.1.12/24").facts();
    let told = refusals(&config, &Decisions::default(), &facts);
    assert!(
        told.contains("attic (10.20.0.2/24) and n100 (192.168.1.11/24) are not on one network"),
        "{told}"
    );
    assert!(told.contains("enrol the machine between them"), "{told}");
}
