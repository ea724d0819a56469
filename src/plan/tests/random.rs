//! Whatever is on the hosts: what is allocated overlaps nothing.

use proptest::prelude::*;

use super::super::pool::overlap;
use super::*;
use crate::facts::{FoundDaemon, HostFacts};

fn net() -> impl Strategy<Value = Ipv4Net> {
    let high =
        (136_u8..150, 22_u8..=26).prop_map(|(n, prefix)| (Ipv4Addr::new(192, 168, n, 0), prefix));
    let ten =
        (any::<u8>(), 16_u8..=24).prop_map(|(n, prefix)| (Ipv4Addr::new(10, n, 0, 0), prefix));
    prop_oneof![high, ten]
        .prop_map(|(address, prefix)| Ipv4Net::new(address, prefix).unwrap().trunc())
}

fn host(n: usize) -> impl Strategy<Value = HostFacts> {
    let lists = (
        prop::collection::vec(net(), 0..4),
        prop::collection::vec(net(), 0..4),
        prop::collection::vec(8078_u16..8090, 0..6),
        prop::collection::vec(net(), 0..2),
        1_u32..64,
        4_u64..128,
    );
    lists.prop_map(move |(addresses, routes, ports, foreign, cores, ram)| {
        let names = ["a", "b", "c", "d"];
        let mut facts = Machine {
            ram_gb: ram,
            cores,
            ..machine(names[n], "172.20.0.1/24")
        }
        .facts();
        let lan = Ipv4Addr::new(172, 20, 0, u8::try_from(n + 1).unwrap());
        facts.addresses = vec![("eth0".to_owned(), Ipv4Net::new(lan, 24).unwrap())];
        facts.ssh_address = Some(lan);
        let more = addresses
            .iter()
            .enumerate()
            .map(|(n, net)| (format!("eth{}", n + 1), *net));
        facts.addresses.extend(more);
        facts.routes = routes;
        facts.ports = ports;
        facts.daemons = vec![FoundDaemon {
            groups: vec!["k3s-agent-1".to_owned()],
            networks: foreign,
            ..FoundDaemon::default()
        }];
        facts
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn allocations_overlap_nothing_and_stay(
        facts in (host(0), host(1), host(2), host(3)),
        hosts in 1_usize..=4,
    ) {
        let facts = [facts.0, facts.1, facts.2, facts.3][..hosts].to_vec();
        let mut text = "name='home'\ncontrol-plane={host='a',servers=1}\n".to_owned();
        for host in &facts {
            let _ = writeln!(text, "[hosts.{0}]\nssh='{0}'\nworkers={{ram-gb=1}}", host.name);
        }
        let config = parsed(&text);
        // The pods' network may be taken: that is a refusal, and the only one here.
        let plan = match decide(&config, &Decisions::default(), &facts, &[], VERSION) {
            Ok(plan) => plan,
            Err(failures) => {
                for failure in failures {
                    prop_assert!(failure.what.contains("-cidr"), "{failure}");
                }
                return Ok(());
            }
        };
        for (n, daemon) in plan.daemons.iter().enumerate() {
            prop_assert!(daemon.group.len() <= 12 && daemon.tap_prefix.len() <= 11);
            for facts in &facts {
                for (_, net) in &facts.addresses {
                    prop_assert!(!overlap(net.trunc(), daemon.cidr), "{} {net}", daemon.cidr);
                }
                for net in facts.routes.iter().chain(&facts.daemons[0].networks) {
                    prop_assert!(!overlap(*net, daemon.cidr), "{} {net}", daemon.cidr);
                }
                if facts.name == daemon.host {
                    prop_assert!(!facts.ports.contains(&daemon.api_port));
                }
            }
            for other in &plan.daemons[..n] {
                prop_assert!(!overlap(other.cidr, daemon.cidr));
                prop_assert!(other.group != daemon.group && other.tap_prefix != daemon.tap_prefix);
                prop_assert!(other.api_port != daemon.api_port);
            }
        }
        let decisions = plan.decisions(&Decisions::default());
        prop_assert_eq!(decide(&config, &decisions, &facts, &[], VERSION).unwrap(), plan);
    }
}
