//! `slicer-k3s routes [show|apply|print]`: who needs which route, and why.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::json;

use super::act::{self, Act};
use super::consent::Prospect;
use super::context::{self, Context, StateDir};
use crate::cli::{Consent, Global, Output, Routes, RoutesAction, System};
use crate::event::Outcome;
use crate::failure::{Code, Failure, Failures, Result};
use crate::generate::{ROUTES_UNIT, RequiredRoute, RouteConsumer, ways};
use crate::pipeline::{self, Finding};
use crate::plan::Plan;
use crate::steps::AnyStep;
use crate::world::World;
use crate::{report, steps, suggest};

/// The version of the document of `--output json`.
const VERSION: u32 = 1;

/// Runs it.
pub(super) async fn run(global: &Global, options: &Routes) -> Result<u8, Failures> {
    if let Some(RoutesAction::Apply(consent)) = options.action {
        return apply(global, consent).await;
    }
    let config = context::load(global)?;
    let home = StateDir::of(&config.name)?;
    let (_, plan) = context::known(&home, &config.name)?;
    let text = match &options.action {
        Some(RoutesAction::Print { machine, os }) => {
            let who = who(&plan, machine)?;
            commands(&plan, &who, os.unwrap_or(system(&who)))
        }
        _ if global.output == Output::Json => document(&plan),
        _ => table(&plan),
    };
    report::data(&text);
    Ok(0)
}

async fn apply(global: &Global, consent: Consent) -> Result<u8, Failures> {
    let started = Instant::now();
    let (context, turn) = Context::acting(global, "routes", consent).await?;
    let steps = steps::routes(&context.world.plan);
    let differ = differ(&steps, &context.world).await;
    let text = match differ.as_slice() {
        [] => String::new(),
        hosts => format!(
            "Routes are set and kept on {}; slicer-k3s routes shows which.",
            hosts.join(", ")
        ),
    };
    let instead = "slicer-k3s routes shows who needs which, and why";
    let prospect = Prospect {
        asks: !differ.is_empty(),
        ..Prospect::of(&text, instead)
    };
    prospect.agree(consent).await?;
    let act = Act {
        global,
        command: "routes",
        started,
        turn: turn.as_ref(),
        absent: Vec::new(),
        likely_done: true,
    };
    let ended = act.run(&steps, &context.world).await?;
    if !ended.iter().any(|step| step.outcome != Outcome::Kept) {
        report::say("Nothing to change: every host keeps its routes.");
    }
    Ok(match turn {
        Some(_) => 0,
        None => act::would_change(&ended),
    })
}

/// The hosts whose routes are not as they should be, or cannot be told.
async fn differ(steps: &[AnyStep], world: &World) -> Vec<String> {
    let found = pipeline::look_at_once(steps, world).await;
    let found = steps.iter().zip(found);
    found
        .filter(|(_, found)| !matches!(found, Ok(Finding::Done(_))))
        .map(|(step, _)| step.id().subject)
        .collect()
}

/// Everybody who can have routes, by the name that `--for` knows.
fn everybody(plan: &Plan) -> Vec<(String, RouteConsumer)> {
    let hosts = plan.hosts.iter().map(|host| host.name.clone());
    let hosts = hosts.chain(plan.away.iter().map(|away| away.host.clone()));
    let others = [
        ("workstation", RouteConsumer::Workstation),
        ("router", RouteConsumer::Router),
    ];
    let others = others.map(|(name, who)| (name.to_owned(), who));
    hosts
        .map(|name| (name.clone(), RouteConsumer::Host(name)))
        .chain(others)
        .collect()
}

fn who(plan: &Plan, name: &str) -> Result<RouteConsumer> {
    let mut all = everybody(plan);
    if let Some(found) = all.iter().position(|(known, _)| known == name) {
        return Ok(all.swap_remove(found).1);
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let failure = Failure::new(Code::Config, format!("no machine is called {name}"));
    Err(failure.hint(match suggest::nearest(name, &names) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known: {}", names.join(", ")),
    }))
}

fn system(who: &RouteConsumer) -> System {
    match who {
        RouteConsumer::Workstation if cfg!(target_os = "macos") => System::Macos,
        _ => System::Linux,
    }
}

/// Who needs which routes, each with its reason below it.
fn table(plan: &Plan) -> String {
    let mut text = String::new();
    for (name, who) in everybody(plan) {
        let _ = writeln!(text, "{name}");
        for way in ways(plan, &who) {
            let (cidr, via) = (way.route.cidr.to_string(), way.route.via.to_string());
            let _ = writeln!(text, "  {cidr:<18} via {via:<15}  {}", whose(&way));
            let _ = writeln!(text, "      {}", way.why);
        }
    }
    text.push_str(
        "\nHosts keep theirs by themselves; the workstation's and the router's are yours:\n\
         slicer-k3s routes print\n",
    );
    text
}

fn whose(way: &RequiredRoute) -> String {
    match &way.group {
        Some(group) => format!("{group} on {}", way.host),
        None => way.host.clone(),
    }
}

fn document(plan: &Plan) -> String {
    let machines: Vec<_> = everybody(plan)
        .into_iter()
        .map(|(name, who)| json!({"for": name, "routes": ways(plan, &who)}))
        .collect();
    let document = json!({"version": VERSION, "cluster": plan.cluster, "machines": machines});
    format!("{document:#}\n")
}

/// What to type there.
fn commands(plan: &Plan, who: &RouteConsumer, system: System) -> String {
    let mut text = match (who, system) {
        (RouteConsumer::Router, _) => {
            "# Static routes for the router's own page: network, netmask, gateway\n".to_owned()
        }
        (RouteConsumer::Host(_), _) => {
            format!("# slicer-k3s keeps these on the host by itself ({ROUTES_UNIT})\n")
        }
        (RouteConsumer::Workstation, System::Linux) => {
            "# Until the next reboot; slicer-k3s init --workstation-route sets them, too\n"
                .to_owned()
        }
        (RouteConsumer::Workstation, System::Macos) => "# Until the next reboot\n".to_owned(),
    };
    for way in ways(plan, who) {
        let (cidr, via) = (way.route.cidr, way.route.via);
        let _ = match (who, system) {
            (RouteConsumer::Router, _) => {
                write!(text, "{}  {}  {via}", cidr.network(), cidr.netmask())
            }
            (_, System::Linux) => write!(text, "sudo ip route replace {cidr} via {via}"),
            (_, System::Macos) => write!(text, "sudo route -n add -net {cidr} {via}"),
        };
        let _ = writeln!(text, "  # {}: {}", whose(&way), way.why);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn every_machine_gets_the_commands_of_its_own_system() {
        let plan = plan();
        let said = |name: &str, system| commands(&plan, &who(&plan, name).unwrap(), system);
        let ryzen = said("ryzen", System::Linux);
        assert!(ryzen.contains("sudo ip route replace 192.168.137.0/24 via 192.168.1.11"));
        assert!(!ryzen.contains("192.168.138.0/24"), "its own: {ryzen}");
        let mac = said("workstation", System::Macos);
        assert!(mac.contains("sudo route -n add -net 192.168.137.0/24 192.168.1.11"));
        assert!(!mac.contains("192.168.138."), "agents need none: {mac}");
        let router = said("router", System::Linux);
        assert!(router.contains("192.168.138.0  255.255.255.0  192.168.1.12"));
        assert!(
            who(&plan, "ryzne")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("ryzen")
        );
    }

    #[test]
    fn the_table_names_everybody_with_a_reason() {
        let table = table(&plan());
        for part in [
            "n100\n",
            "ryzen\n",
            "workstation\n",
            "router\n",
            "      the API, and pods on servers\n",
        ] {
            assert!(table.contains(part), "no {part:?} in\n{table}");
        }
        assert!(
            table.lines().all(|line| line.chars().count() <= 80),
            "{table}"
        );
        let document: serde_json::Value = serde_json::from_str(&document(&plan())).unwrap();
        assert_eq!(document["version"], 1);
        assert_eq!(
            document["machines"][0]["routes"][0]["cidr"],
            "192.168.138.0/24"
        );
    }
}
