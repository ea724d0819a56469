//! The host has a route to the VMs of every other host, put back within seconds when it is lost.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::deletion::DeletablePath;
use crate::failure::{Code, Failure, Result};
use crate::generate::{self, FORMER_ROUTES_UNIT, ROUTES_UNIT, Route, TABLES};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Host;
use crate::remote::{Machine, Probe, Script};
use crate::step_id::StepName;
use crate::steps::support::diff;
use crate::steps::support::unit::Unit;
use crate::world::World;

pub(crate) struct Routes {
    host: String,
}

impl Routes {
    pub(crate) fn new(host: &Host) -> Self {
        Self {
            host: host.name.clone(),
        }
    }
}

/// Which of these routes the kernel has, by the same gateway.
pub(crate) async fn present(machine: &Machine, routes: &[Route]) -> Result<Vec<Route>> {
    let output = machine.probe(&Probe::Routes).await?;
    let table: Vec<Value> = serde_json::from_str(&output.stdout).map_err(|error| {
        Failure::new(
            Code::Route,
            format!("cannot read the routes of {}", machine.name()),
        )
        .because(error)
    })?;
    let has = |route: &&Route| {
        // A route to one address is printed without its /32.
        let cidr = route.cidr.to_string();
        let dst = cidr.trim_end_matches("/32");
        table
            .iter()
            .any(|entry| entry["dst"] == dst && entry["gateway"] == route.via.to_string())
    };
    Ok(routes.iter().filter(has).copied().collect())
}

/// The first route that the kernel does not have; a route of another gateway is as good as none.
async fn missing(machine: &Machine, routes: &[Route]) -> Result<Option<Route>> {
    let there = present(machine, routes).await?;
    Ok(routes.iter().find(|route| !there.contains(route)).copied())
}

/// Takes routes out of the kernel that the table, written before, holds no more. The keeper begins anew first: what it
/// has read already it would put back.
pub(crate) async fn withdraw(
    machine: &Machine,
    permit: &WritePermit,
    routes: &[Route],
) -> Result<()> {
    if routes.is_empty() {
        return Ok(());
    }
    let script = Script::new(
        "set -e; systemctl try-restart {}
while read -r cidr via; do ip -4 route delete \"$cidr\" via \"$via\" 2>/dev/null || true; done",
        &[ROUTES_UNIT],
    )
    .stdin(generate::route_table(routes));
    machine
        .must(permit, "withdrawing routes", &script)
        .await
        .map(drop)
}

/// Takes away our unit of before and gives a person's own, which was put aside for it, its name back. Routes stay in the
/// kernel meanwhile.
const RETIRE: &str = "set -e; n={}; u={}
systemctl -q disable \"$n\"; systemctl stop \"$n\"; rm -f -- \"$u\"
if [ -f \"$u.before-slicer-k3s\" ]; then mv -f -- \"$u.before-slicer-k3s\" \"$u\"; fi
systemctl daemon-reload
if [ -f \"$u\" ]; then systemctl -q enable --now --no-block \"$n\" || true; fi";

/// The unit of the former name, where it is ours; a person's own is left alone.
async fn former(host: &Machine) -> Result<Option<DeletablePath>> {
    let path = generate::unit_path(FORMER_ROUTES_UNIT);
    let text = host.read(&path).await?.unwrap_or_default();
    Ok(DeletablePath::unit_written_by_us(&path, &text))
}

/// What a table says that the wanted one does not.
fn stale(table: &str, wanted: &[Route]) -> Vec<Route> {
    table
        .lines()
        .filter_map(|line| {
            let (cidr, via) = line.split_once(' ')?;
            Some(Route {
                cidr: cidr.parse().ok()?,
                via: via.trim().parse().ok()?,
            })
        })
        .filter(|route| !wanted.contains(route))
        .collect()
}

#[async_trait]
impl Step<World> for Routes {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::Routes.on(&self.host),
            format!("Keep routes from {} to the other hosts' VMs", self.host),
            format!("on {}: sudo journalctl -u {ROUTES_UNIT} -n 20", self.host),
        )
        // Slicer's installer restarts networkd, which drops routes.
        .needs([
            StepName::SlicerInstalled.on(&self.host),
            StepName::Forwarding.on(&self.host),
        ])
        .timeout(Duration::from_secs(30))
        .code(Code::Route)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.host)?;
        let routes = generate::routes(&world.plan, &self.host);
        for file in generate::host_routes(&world.plan, &self.host)? {
            if let Some(why) = file.differs(host).await? {
                return Ok(Finding::Differs(why));
            }
        }
        if former(host).await?.is_some() {
            let what = "its unit has its former name, which is the manual's";
            return Ok(Finding::differs(what));
        }
        let unit = Unit::look(host, ROUTES_UNIT).await?;
        if !unit.runs() || !unit.enabled() {
            return Ok(Finding::differs(format!("{ROUTES_UNIT} does not run")));
        }
        let count = routes.len();
        Ok(match missing(host, &routes).await? {
            Some(route) => {
                Finding::differs(format!("no route to {} via {}", route.cidr, route.via))
            }
            None => Finding::Done(format!("{count} kept")),
        })
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let files = generate::host_routes(&world.plan, &self.host)?;
        diff::of_files(world.host(&self.host)?, files).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let host = world.host(&self.host)?;
        let files = generate::host_routes(&world.plan, &self.host)?;
        if let Some(path) = former(host).await? {
            let retire = Script::new(RETIRE, &[FORMER_ROUTES_UNIT, path.as_str()]);
            let what = "giving the routes unit's former name back";
            host.must(permit, what, &retire).await?;
        }
        let unit = Unit::look(host, ROUTES_UNIT).await?;
        let wanted = generate::routes(&world.plan, &self.host);
        let mut old = Vec::new();
        let mut anew = !(unit.runs() && unit.enabled());
        for file in &files {
            let table = file.path.starts_with(TABLES);
            if table && let Some(text) = host.read(&file.path).await? {
                old = stale(&text, &wanted);
            }
            anew |= !table && file.differs(host).await?.is_some();
            file.write(host, permit).await?;
        }
        withdraw(host, permit, &old).await?;
        if !anew {
            // The keeper reads its table again within seconds; what is new need not wait for it.
            let table = generate::route_table(&wanted);
            let now = Script::new(
                "while read -r cidr via; do ip -4 route replace \"$cidr\" via \"$via\" || exit 1; done",
                &[],
            )
            .stdin(table);
            return host.must(permit, "setting routes", &now).await.map(drop);
        }
        let start = Script::new(
            "set -e; systemctl -q enable --no-reload {}; systemctl daemon-reload; systemctl restart {}",
            &[ROUTES_UNIT, ROUTES_UNIT],
        )
        .limit(Duration::from_secs(90));
        host.must(permit, "starting the routes unit", &start)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, machine, permit, plan, world};

    /// A host that was off while another left comes back with the other's route.
    #[test]
    fn what_the_table_no_longer_says_is_stale() {
        let wanted = generate::routes(&plan(), "n100");
        let table = "192.168.138.0/24 192.168.1.12\n192.168.140.0/24 192.168.1.13\nnonsense\n";
        let stale = stale(table, &wanted);
        assert_eq!(
            generate::route_table(&stale),
            "192.168.140.0/24 192.168.1.13\n"
        );
    }

    /// The kernel prints the route to a host behind another without its length.
    #[tokio::test]
    async fn a_route_to_one_address_is_found() {
        let route = Route {
            cidr: "10.20.0.2/32".parse().unwrap(),
            via: [192, 168, 1, 12].into(),
        };
        let table = r#"[{"dst":"10.20.0.2","gateway":"192.168.1.12","dev":"eth0"}]"#;
        let host = machine("n100", Fake::new().says("route show", table));
        assert_eq!(present(&host, &[route]).await.unwrap(), [route]);
    }

    /// A person's own unit was replaced, with the routes of other daemons that it kept.
    #[tokio::test]
    async fn a_persons_own_unit_is_left_alone_and_ours_leaves_its_name() {
        let ours = generate::routes_unit().unwrap();
        for (text, is_ours) in [
            ("[Unit]\nDescription=Add slicer routes\n", false),
            (&*ours, true),
        ] {
            let fake = Fake::new().says(FORMER_ROUTES_UNIT, text);
            let world = world(&[("n100", &fake)]);
            let step = Routes {
                host: "n100".into(),
            };
            // What it says of the rest does not matter here.
            let _ = step.apply(&world, &permit()).await;
            let told = fake.told();
            let touched = told
                .iter()
                .filter(|(command, _)| command.contains(FORMER_ROUTES_UNIT))
                .any(|(command, _)| !command.contains("cat -- "));
            assert_eq!(touched, is_ours);
            assert!(!told.iter().any(|(command, _)| command.contains("cp -p")));
        }
    }

    #[test]
    fn what_was_put_aside_for_our_unit_has_its_place_again() {
        let dir = tempfile::tempdir().unwrap();
        let unit = dir.path().join(FORMER_ROUTES_UNIT).display().to_string();
        fs_err::write(&unit, "ours").unwrap();
        fs_err::write(format!("{unit}.before-slicer-k3s"), "theirs").unwrap();
        let retire = Script::new(RETIRE, &[FORMER_ROUTES_UNIT, &unit]);
        let text = format!("systemctl() {{ :; }}\n{}", retire.text());
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-c", &text]).status().unwrap().success());
        assert_eq!(fs_err::read_to_string(&unit).unwrap(), "theirs");
    }

    #[tokio::test]
    async fn a_route_through_another_gateway_is_missing() {
        let wanted = generate::routes(&plan(), "n100");
        for (table, found) in [
            (
                r#"[{"dst":"192.168.138.0/24","gateway":"192.168.1.12","dev":"eth0"}]"#,
                true,
            ),
            (
                r#"[{"dst":"192.168.138.0/24","gateway":"192.168.1.99","dev":"eth0"}]"#,
                false,
            ),
            (r#"[{"dst":"192.168.138.0/24","dev":"br0"}]"#, false),
            ("[]", false),
        ] {
            let host = machine("n100", Fake::new().says("route show", table));
            let missing = missing(&host, &wanted).await.unwrap();
            assert_eq!(missing.is_none(), found, "{table}");
        }
    }
}
