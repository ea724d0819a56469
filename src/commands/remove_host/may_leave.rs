//! Whether a host can be removed, and what a name stands for that cluster.toml does not have.

use crate::cli::RemoveHost;
use crate::commands::context::StateDir;
use crate::config::Config;
use crate::failure::{Code, Failure, Result};
use crate::fleet::{self, Fleet};
use crate::plan::{Decisions, Plan};
use crate::state::{self, State};
use crate::suggest;

/// What a name that is to be removed stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A host that cluster.toml has, and that can be spared.
    Here,
    /// Nothing that is known on this workstation; the refusal, unless a host says otherwise.
    Unknown(Failure),
}

/// Whether a host has left already: cluster.toml does not name it, and what is on record here, or was of a destroyed cluster,
/// does, without a group that it would still run. Of a cluster that was destroyed every host has left.
pub(super) fn left_before(home: &StateDir, config: &Config, name: &str) -> Result<bool> {
    let archived = || Ok(has_left(&state::archived(&config.name)?, name));
    match State::open(home.path())? {
        Some(_) if config.host(name).is_some() => Ok(false),
        Some(state) if state.decisions.runs_groups(name) => Ok(false),
        Some(state) if state.decisions.knows(name) => Ok(true),
        None | Some(_) => archived(),
    }
}

fn has_left(archived: &[State], name: &str) -> bool {
    archived.iter().any(|state| state.decisions.knows(name))
}

/// Whether the mark of one of these hosts names it: that machine was enrolled under this name, and is called otherwise now.
pub(super) async fn is_marked(fleet: Option<Fleet>, cluster: &str, name: &str) -> bool {
    let Some(fleet) = fleet else { return false };
    let marks = fleet::marks(&fleet, cluster).await.unwrap_or_default();
    marks.iter().any(|mark| mark.host == name)
}

/// Whether it is a host at all, and one that can be spared.
pub(super) fn check(
    config: &Config,
    decisions: &Decisions,
    last: &Plan,
    options: &RemoveHost,
) -> Result<Named> {
    let name = options.name.as_str();
    if config.host(name).is_none() {
        if decisions.runs_groups(name) {
            return Err(decisions.left_behind(name));
        }
        let hosts: Vec<&str> = config.hosts.iter().map(|host| &*host.name).collect();
        let failure = Failure::new(
            Code::Config,
            format!("no host of {} is called {name}", config.name),
        );
        return Ok(Named::Unknown(failure.hint(
            match suggest::nearest(name, &hosts) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("hosts: {}", hosts.join(", ")),
            },
        )));
    }
    let serves = config.control_plane.hosts.iter().any(|host| host == name);
    let behind = last.behind(name);
    if let Some(first) = behind.first().filter(|_| !options.agents) {
        return Err(Failure::new(
            Code::PlanConflict,
            format!(
                "{name} is the gateway of {} and cannot be removed",
                behind.join(", ")
            ),
        )
        .because("the other hosts' packets to VMs there go through it")
        .hint(format!(
            "slicer-k3s remove-host {first} first, or connect it to the LAN and run slicer-k3s init"
        )));
    }
    if options.agents && !serves {
        return Err(
            Failure::new(Code::Config, format!("{name} runs nothing but agents"))
                .hint(format!("slicer-k3s remove-host {name}")),
        );
    }
    if serves && !options.agents {
        return Err(Failure::new(
            Code::PlanConflict,
            format!("{name} runs servers and cannot be removed"),
        )
        .because("a server does not move: its etcd member and its network are its host's")
        .hint(format!(
            "slicer-k3s remove-host {name} --agents takes its agents away; slicer-k3s destroy removes the whole cluster"
        )));
    }
    Ok(Named::Here)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::testing::plan;

    const TEXT: &str = "name='home'\n[control-plane]\nhosts=['n100']\n[hosts.n100]\nssh='a'\n[hosts.ryzen]\nssh='b'";

    fn config() -> Config {
        crate::config::parse(TEXT, "cluster.toml").unwrap()
    }

    fn checked(decisions: &Decisions, name: &str) -> Result<Named> {
        let cli = Cli::parse_from(["slicer-k3s", "remove-host", name]);
        match cli.command {
            Command::RemoveHost(options) => check(&config(), decisions, &plan(), &options),
            _ => unreachable!(),
        }
    }

    /// The second run of the same command was told that it had made a mistake.
    #[test]
    fn a_host_that_left_is_nothing_to_do_and_one_that_never_was_is_a_mistake() {
        let all = plan().decisions(&Decisions::default());
        assert!(all.knows("ryzen") && !all.knows("pi5"));
        for gone in [false, true] {
            let left = all.without("ryzen", gone);
            assert!(left.knows("ryzen"), "gone: {gone}");
            assert!(!left.runs_groups("ryzen"), "gone: {gone}");
            // It comes back, and leaves again.
            assert!(plan().decisions(&left).runs_groups("ryzen"));
        }
        let Named::Unknown(failure) = checked(&all, "rizen").unwrap() else {
            panic!("it is no host");
        };
        assert_eq!(failure.code.exit_code(), 2);
        assert_eq!(failure.hint.as_deref(), Some("did you mean ryzen?"));
        let Named::Unknown(failure) = checked(&all, "attic").unwrap() else {
            panic!("it is no host");
        };
        assert_eq!(failure.hint.as_deref(), Some("hosts: n100, ryzen"));
        assert_eq!(checked(&all, "ryzen").unwrap(), Named::Here);
        // Its VMs run: only the person's file has lost it.
        let mut more = all.clone();
        let mut group = more.groups["k3s-agents-1"].clone();
        group.host = "pi5".into();
        more.groups.insert("k3s-agents-3".into(), group);
        assert!(checked(&more, "pi5").is_err());
    }

    /// The archive of a destroyed cluster is all that is left of it here.
    #[test]
    fn the_hosts_of_a_destroyed_cluster_have_left() {
        let mut state = State::create("home").unwrap();
        state.decisions = plan().decisions(&Decisions::default());
        assert!(has_left(&[state.clone()], "ryzen"));
        assert!(!has_left(&[state], "pi5"));
    }

    #[tokio::test]
    async fn a_mark_knows_the_name_that_a_machine_was_enrolled_by() {
        use crate::testing::{Fake, machine};
        let mark = serde_json::to_string(&plan().mark("ryzen")).unwrap();
        let fake = Fake::new().says("/etc/slicer-k3s/home.json", &mark);
        let machine = std::sync::Arc::new(machine("box", fake));
        let fleet = || {
            let machines = [("box".to_owned(), machine.clone())].into();
            let absent = Vec::new();
            Some(Fleet { machines, absent })
        };
        assert!(is_marked(fleet(), "home", "ryzen").await);
        assert!(!is_marked(fleet(), "home", "pi5").await);
        assert!(!is_marked(None, "home", "ryzen").await);
    }
}
