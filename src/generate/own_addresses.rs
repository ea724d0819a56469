//! What lets a host's servers keep their addresses on the way to servers of other hosts.
//!
//! etcd refuses a peer whose address its certificate does not name (`tls: "192.168.1.13" does not match any of DNSNames`,
//! etcd's `client/pkg/v3/transport`, `checkCertSAN`), and whether Slicer masquerades what goes to private networks is not
//! documented. A table of our own does not depend on where Slicer's rules lie, nor on when it writes them anew.

use std::fmt;
use std::net::Ipv4Addr;

use askama::Template;

use super::render;
use crate::failure::Result;
use crate::plan::{Plan, Server};

/// From a server to one of another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerPath {
    /// The server that begins.
    pub from: Ipv4Addr,
    /// The one that it talks to.
    pub to: Ipv4Addr,
}

/// As nftables writes it and prints it.
impl fmt::Display for ServerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip saddr {} ip daddr {}", self.from, self.to)
    }
}

/// Every way from one server to another that begins on `host` or leads through it, also to a host that is off; none where
/// all are on one host.
pub fn server_paths(plan: &Plan, host: &str) -> Vec<ServerPath> {
    let here = |from: &Server, to: &Server| {
        from.host != to.host
            && (from.host == host || plan.between(&from.host, &to.host).contains(&host))
    };
    let servers = plan.servers.iter();
    servers
        .flat_map(|from| plan.servers.iter().map(move |to| (from, to)))
        .filter(|(from, to)| here(from, to))
        .map(|(from, to)| ServerPath {
            from: from.address,
            to: to.address,
        })
        .collect()
}

/// The name of a cluster's table in nftables; the routes' keeper makes it from the file's name.
pub fn own_addresses_table(cluster: &str) -> String {
    format!("slicer-k3s-{cluster}")
}

/// Where the table lies.
pub fn own_addresses_path(cluster: &str) -> String {
    format!("/etc/slicer-k3s/own-addresses.d/{cluster}")
}

#[derive(Template)]
#[template(path = "own-addresses.nft", escape = "none")]
struct Table<'a> {
    table: &'a str,
    ways: &'a [ServerPath],
}

/// The table of these ways, for `nft -f`.
pub(super) fn own_addresses_rules(cluster: &str, ways: &[ServerPath]) -> Result<String> {
    render(&Table {
        table: &own_addresses_table(cluster),
        ways,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, spread};

    #[test]
    fn servers_on_one_host_need_no_rule_and_an_absent_host_keeps_its_own() {
        assert!(server_paths(&plan(), "n100").is_empty());
        let mut spread = spread();
        assert!(server_paths(&spread, "pi5").is_empty());
        let shown = |plan: &Plan| -> Vec<String> {
            let ways = server_paths(plan, "n100");
            ways.iter().map(ToString::to_string).collect()
        };
        let all = shown(&spread);
        assert_eq!(
            all,
            [
                "ip saddr 192.168.137.2 ip daddr 192.168.138.2",
                "ip saddr 192.168.137.3 ip daddr 192.168.138.2"
            ]
        );
        spread.hosts.retain(|host| host.name != "ryzen");
        assert_eq!(shown(&spread), all);
    }

    #[test]
    fn the_table_replaces_itself_and_comes_before_masquerading() {
        let ways = server_paths(&spread(), "ryzen");
        let rules = own_addresses_rules("home", &ways).unwrap();
        insta::assert_snapshot!(rules, @r"
        # Written by slicer-k3s: this host's servers reach those on other hosts under their own addresses, whatever Slicer masquerades.
        # Deleted and made in one transaction: at no moment is it missing.
        table ip slicer-k3s-home
        delete table ip slicer-k3s-home
        table ip slicer-k3s-home {
            chain postrouting {
                # Before 100, where masquerading is done: a connection's first translation counts, and this one changes nothing.
                type nat hook postrouting priority 90
                ip saddr 192.168.138.2 ip daddr 192.168.137.2 snat to ip saddr
                ip saddr 192.168.138.2 ip daddr 192.168.137.3 snat to ip saddr
            }
        }
        ");
    }
}
