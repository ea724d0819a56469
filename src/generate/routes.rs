//! The routes from one host to the VMs of the others, and the unit that keeps them.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use askama::Template;
use ipnet::Ipv4Net;
use serde::Serialize;

use super::render;
use super::ways::{RouteConsumer, ways};
use crate::failure::Result;
use crate::plan::Plan;

/// The unit that keeps the routes of all clusters of slicer-k3s on a host.
pub const ROUTES_UNIT: &str = "slicer-k3s-routes.service";

/// What the unit was called before. It is the manual's name for a unit that people write themselves, and theirs may keep routes
/// of other daemons: only one with our mark is ours.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/examples/autoscaling-k3s.md.
pub const FORMER_ROUTES_UNIT: &str = "slicer-routes.service";

/// The script that the unit runs.
pub const ROUTES_SCRIPT: &str = "/usr/local/lib/slicer-k3s/keep-routes";

/// Where the routes lie that the script keeps, one file a cluster; the script names it, too.
pub const TABLES: &str = "/etc/slicer-k3s/routes.d";

/// The file of one cluster's routes.
pub fn routes_path(cluster: &str) -> String {
    format!("{TABLES}/{cluster}")
}

/// One route: a group's network through the host that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    /// The VMs' network.
    pub cidr: Ipv4Net,
    /// The address of the host that runs them.
    pub via: Ipv4Addr,
}

/// Every route that `host` needs: to each network of each other host, one that is off included, never to its own, which is
/// directly connected.
pub fn routes(plan: &Plan, host: &str) -> Vec<Route> {
    let ways = ways(plan, &RouteConsumer::Host(host.to_owned()));
    ways.into_iter().map(|way| way.route).collect()
}

/// The file of one cluster's routes: `CIDR VIA` lines.
pub fn route_table(routes: &[Route]) -> String {
    routes.iter().fold(String::new(), |mut table, route| {
        let _ = writeln!(table, "{} {}", route.cidr, route.via);
        table
    })
}

#[derive(Template)]
#[template(path = "slicer-k3s-routes.service", escape = "none")]
struct Unit {
    script: &'static str,
}

#[derive(Template)]
#[template(path = "keep-routes.sh", escape = "none")]
struct Keep {}

/// The unit that keeps routes.
pub fn routes_unit() -> Result<String> {
    render(&Unit {
        script: ROUTES_SCRIPT,
    })
}

/// The script that puts back what is missing, every few seconds.
pub fn routes_script() -> Result<String> {
    render(&Keep {})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn a_host_gets_routes_to_the_others_and_never_to_itself() {
        let plan = plan();
        assert_eq!(
            route_table(&routes(&plan, "n100")),
            "192.168.138.0/24 192.168.1.12\n"
        );
        assert_eq!(
            route_table(&routes(&plan, "ryzen")),
            "192.168.137.0/24 192.168.1.11\n192.168.139.0/24 192.168.1.11\n"
        );
    }

    /// Without nft the journal got a line in each round.
    #[test]
    fn a_missing_nft_is_told_once() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["bin", "routes.d", "own-addresses.d"] {
            fs_err::create_dir(at(name)).unwrap();
        }
        fs_err::write(at("own-addresses.d/home"), "").unwrap();
        for tool in ["cat", "mkfifo", "rm", "dd"] {
            let found = ["/usr/bin", "/bin"].map(|dir| format!("{dir}/{tool}"));
            let found = found
                .into_iter()
                .find(|path| std::path::Path::new(path).exists());
            symlink(found.unwrap(), at("bin").join(tool)).unwrap();
        }
        // Its third round is the last one.
        let stub = |name: &str, text: &str| {
            let path = at("bin").join(name);
            fs_err::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let rounds = at("rounds").display().to_string();
        stub("ip", "exit 0");
        stub("timeout", "exit 0");
        stub(
            "sleep",
            &format!(
                "echo >>{rounds}; n=0; while read -r _; do n=$((n + 1)); done <{rounds}; [ $n -lt 3 ] || kill $PPID"
            ),
        );
        let place = dir.path().display().to_string();
        let script = routes_script()
            .unwrap()
            .replace("/run/", &format!("{place}/"));
        let script = script.replace("/etc/slicer-k3s", &place);
        let mut shell = std::process::Command::new("/bin/sh");
        let done = shell
            .args(["-c", &script])
            .env("PATH", at("bin"))
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(said.matches("nft is not installed").count(), 1, "{said}");
    }

    #[test]
    fn the_script_is_one_that_a_posix_shell_reads() {
        let script = routes_script().unwrap();
        assert!(script.starts_with("#!/bin/sh\n"));
        let status = std::process::Command::new("sh")
            .args(["-n", "-c", &script])
            .status()
            .unwrap();
        assert!(status.success());
        assert!(script.contains(&format!("cat {TABLES}/*")));
        assert!(routes_unit().unwrap().contains(ROUTES_SCRIPT));
    }
}
