//! Before `init` writes anything: are the servers one cluster, and how has each to start?

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ask::Name;
use super::consent;
use super::context::StateDir;
use crate::cli::Init;
use crate::config::Config;
use crate::control_plane::{self, ControlPlane, Judgement, Observed, Versions};
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Result};
use crate::plan::{Decisions, Founded, Mark, Plan, Server};
use crate::secret::sha256;
use crate::world::World;
use crate::{kubeconfig, plan, state};

/// How long what passes by itself is waited for: etcd's member lists differ while a member comes or goes.
const PASSES: Duration = Duration::from_secs(20);

/// The cluster that is on record for this configuration.
pub(super) fn on_record(
    home: &StateDir,
    config: &Config,
    decisions: &Decisions,
    facts: &[HostFacts],
) -> Result<Option<Founded>> {
    let marks = facts.iter().filter_map(|host| {
        let text = host.mark(&config.name)?;
        Some(Mark::read(&host.name, &config.name, text))
    });
    let marks = marks.collect::<Result<Vec<_>>>()?;
    let destroyed: BTreeSet<String> = state::destroyed(&config.name)?;
    let recorded = control_plane::recorded(decisions, &marks, &destroyed)?;
    let obeyed = |ca: &String| !destroyed.contains(ca) && !decisions.given_up.contains(ca);
    // Earlier releases kept no record, but the kubeconfig of what they had founded.
    Ok(recorded.or_else(|| {
        let ca = ca_of(&home.kubeconfig()).filter(obeyed)?;
        let voters = BTreeSet::new();
        Some(Founded { ca, voters })
    }))
}

/// The hash of the CA that a kubeconfig names.
fn ca_of(kubeconfig: &Path) -> Option<String> {
    let text = fs_err::read_to_string(kubeconfig).ok()?;
    let config = kubeconfig::parse(&text, "").ok()?;
    let ca = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str()?;
    let ca = STANDARD.decode(ca.trim()).ok()?;
    Some(sha256(&ca))
}

/// Asks all servers that were not just `seen`; nothing is changed. `new`: the cluster was never made. How each server has
/// to start, and which k3s they have.
pub(super) async fn survey(
    world: &World,
    options: &Init,
    mut seen: Option<Vec<(Server, Observed)>>,
    new: bool,
) -> Result<(ControlPlane, Versions)> {
    named(options, &world.plan)?;
    let begin = Instant::now();
    loop {
        let seen = match seen.take() {
            Some(seen) => seen,
            None => control_plane::ask_all(world, new).await,
        };
        let judgement = if options.force_new_cluster.is_some() {
            control_plane::judge_new(&world.plan, &seen)
        } else {
            control_plane::judge(&world.plan, &seen, &options.give_up)
        };
        match judgement {
            Judgement::Clear(mut control_plane) => {
                control_plane.programs = control_plane::programs(&seen);
                let versions = control_plane::judge_versions(&world.plan, &seen)?;
                return Ok((control_plane, versions));
            }
            Judgement::Refused(refusal) if refusal.passes && begin.elapsed() < PASSES => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Judgement::Refused(refusal) => {
                return Err(control_plane::describe(world, *refusal).await);
            }
        }
    }
}

/// cluster.toml without the version of k3s, where one was decided: whether that one is still right, the servers say.
pub(super) fn without_version(config: &Config, decisions: &Decisions) -> Config {
    let mut config = config.clone();
    if decisions.k3s_version.is_some() {
        config.k3s.version = None;
    }
    config
}

/// Takes over the version that the servers were upgraded to; an error where cluster.toml asks for another than they have.
pub(super) fn take_over(plan: &mut Plan, config: &Config, versions: &Versions) -> Result<()> {
    if let Some(upgrade) = &versions.upgrade {
        plan.upgraded(&upgrade.to.to_string(), &upgrade.why());
    }
    let configured = config.k3s.version.as_ref();
    match configured.and_then(|configured| plan::other_version(&plan.k3s.version, configured)) {
        None => Ok(()),
        Some(conflict) => Err(conflict),
    }
}

/// Data is given up by name only.
fn named(options: &Init, plan: &Plan) -> Result<()> {
    let wrong = |what: String| Err(Failure::new(Code::Config, what));
    if let Some(name) = &options.force_new_cluster
        && *name != plan.cluster
    {
        return wrong(format!(
            "--force-new-cluster names {name}, and this cluster is {}",
            plan.cluster
        ));
    }
    let known = |name: &String| plan.servers.iter().any(|server| server.name == *name);
    match options.give_up.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let servers: Vec<&str> = plan.servers.iter().map(|server| &*server.name).collect();
            wrong(format!(
                "--give-up names {name}, which is no server of {}: there are {}",
                plan.cluster,
                servers.join(", ")
            ))
        }
    }
}

/// Whoever gives data up types its name once more on a terminal; in a script the flag names it.
pub(super) async fn consent(options: &Init, control_plane: &ControlPlane) -> Result<()> {
    if control_plane.set_aside.is_empty() {
        return Ok(());
    }
    let (what, name) = match (&options.force_new_cluster, options.give_up.as_slice()) {
        (Some(cluster), _) => ("cluster's name", cluster.clone()),
        (None, servers) => ("names of the servers that are given up", servers.join(" ")),
    };
    let typed = Name {
        question: &format!("Type the {what} to go on ({name})"),
        answer: &name,
        declined: Failure::new(Code::Declined, "nothing was changed"),
        wrong: format!("the {what} would be: {name}"),
        otherwise: "read the plan above and run again with --yes",
    };
    consent::typed(options.making.consent, typed).await
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::control_plane::Upgrade;
    use crate::k3s::Release;
    use crate::testing::{Fake, plan, world};

    const DECIDED: &str = "v1.34.4+k3s1";
    const NEW: &str = "v1.34.5+k3s1";

    fn config(version: Option<&str>) -> Config {
        let text = "name='home'\n[hosts.n100]\nssh='a'";
        let mut config = crate::config::parse(text, "cluster.toml").unwrap();
        config.k3s.version = version.map(str::to_owned);
        config
    }

    /// Asking for what all servers have was a conflict with what was decided before they were upgraded.
    #[test]
    fn cluster_toml_may_ask_for_what_the_servers_were_upgraded_to() {
        let decisions = plan().decisions(&Decisions::default());
        let first = without_version(&config(Some(NEW)), &Decisions::default());
        assert_eq!(first.k3s.version.as_deref(), Some(NEW));
        assert_eq!(
            without_version(&config(Some(NEW)), &decisions).k3s.version,
            None
        );
        let upgrade = Upgrade {
            from: DECIDED.into(),
            to: Release::parse(NEW).unwrap(),
            unseen: Vec::new(),
        };
        let upgraded = Versions {
            upgrade: Some(upgrade),
            ..Versions::default()
        };
        for (asked, versions, becomes) in [
            (None, &upgraded, Some(NEW)),
            (Some(NEW), &upgraded, Some(NEW)),
            (Some(DECIDED), &upgraded, None),
            (Some(DECIDED), &Versions::default(), Some(DECIDED)),
            (Some(NEW), &Versions::default(), None),
        ] {
            let mut plan = plan();
            let taken = take_over(&mut plan, &config(asked), versions);
            match becomes {
                Some(version) => assert_eq!((taken, &*plan.k3s.version), (Ok(()), version)),
                None => assert_eq!(taken.unwrap_err().code, Code::PlanConflict, "{asked:?}"),
            }
        }
    }

    /// Before anything is written, and by the answers to the question that is asked anyway.
    #[tokio::test]
    async fn servers_of_different_versions_end_the_survey() {
        let answer = |version: &str| {
            format!(
                "data=no\nmembers=\nrunning={version}\ninstalled=k3s version {version} (abc)\nend\n"
            )
        };
        let said = |version: &str| Fake::new().says("member/wal", &answer(version));
        let (host, old, new) = (Fake::new(), said(DECIDED), said(NEW));
        let cli = crate::cli::Cli::parse_from(["slicer-k3s", "init"]);
        let crate::cli::Command::Init(options) = cli.command else {
            panic!("no init");
        };
        let differ = world(&[
            ("n100", &host),
            ("k3s-cp-1", &new),
            ("k3s-cp-2", &old),
            ("k3s-cp-3", &old),
        ]);
        let failure = survey(&differ, &options, None, false).await.unwrap_err();
        assert_eq!(failure.code, Code::K3sVersionsDiffer);
        let same = world(&[
            ("n100", &host),
            ("k3s-cp-1", &new),
            ("k3s-cp-2", &new),
            ("k3s-cp-3", &new),
        ]);
        let (_, versions) = survey(&same, &options, None, false).await.unwrap();
        assert_eq!(versions.upgrade.unwrap().to.to_string(), NEW);
        let asked = new.told();
        assert!(
            asked
                .iter()
                .all(|(command, _)| command.contains("VERSIONS=yes")),
            "{asked:?}"
        );
    }
}
