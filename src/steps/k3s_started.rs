//! k3s runs on a server and its own API answers; servers after the first wait for the first one's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::Options;
use super::old_node_removed::OldNodeRemoved;
use super::quorum::Turns;
use super::unit::{Unit, runs_with};
use super::vm_path::VmPath;
use crate::control_plane::{ControlPlane, Start};
use crate::failure::{Code, Failure, Result};
use crate::k3s::{self, Trouble, UNIT, classify, since_start};
use crate::kubernetes::Kubernetes;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Plan, Server};
use crate::remote::{Look, Machine, Script};
use crate::world::World;

/// So many ends for reasons that we do not know, five seconds apart, are no hiccup of a start.
const LOOP: u32 = 8;

pub(super) struct K3sStarted {
    server: Server,
    /// The server that it joins, where it has no data.
    via: Option<String>,
    needs: Vec<StepId>,
    allow_outage: bool,
    turns: Turns,
    applied: AtomicBool,
}

pub(super) fn id(server: &str) -> StepId {
    StepId::new("k3s-started", server)
}

/// The step that tells whether the cluster's API can be had at all.
pub(super) fn first_api(plan: &Plan) -> Vec<StepId> {
    plan.servers_here()
        .take(1)
        .map(|server| id(&server.name))
        .collect()
}

/// The server whose API has to answer before this one starts: the one that it joins. One that has data waits for nobody,
/// or none of them would come back after all were off.
fn via(plan: &Plan, server: &Server, control_plane: &ControlPlane) -> Option<String> {
    match control_plane.start(&server.name) {
        Start::Join { via, .. } => Some(via.clone()),
        // It will found the cluster, or join whoever does.
        Start::Undecided if plan.founded.is_none() => {
            let first = plan.servers_here().next().map(|first| first.name.clone());
            first.filter(|first| *first != server.name)
        }
        Start::Undecided | Start::Member | Start::Found => None,
    }
}

impl K3sStarted {
    pub(super) fn new(
        plan: &Plan,
        server: &Server,
        options: &Options,
        turns: &Turns,
        control_plane: &ControlPlane,
    ) -> Self {
        let mut needs = vec![super::k3s_installed::id(&server.name)];
        // The way to the servers before it, where they are on other hosts.
        needs.extend(VmPath::new(plan, server).map(|path| path.id()));
        needs.extend(OldNodeRemoved::new(plan, server, control_plane).map(|step| step.id()));
        let via = via(plan, server, control_plane);
        needs.extend(via.as_deref().map(id));
        Self {
            server: server.clone(),
            via,
            needs,
            allow_outage: options.allow_outage,
            turns: turns.clone(),
            applied: AtomicBool::new(false),
        }
    }

    /// Whether the running process has read another configuration than it should have.
    async fn outdated(&self, world: &World, machine: &Machine) -> Result<bool> {
        let readings = k3s::readings(&world.plan, &self.server, &world.secrets)?;
        Ok(!runs_with(machine, UNIT, &readings).await?)
    }

    fn hint_of(&self, world: &World, trouble: Trouble) -> String {
        let first = world.plan.servers.first();
        let first = first.map_or_else(String::new, |first| first.address.to_string());
        trouble.hint_for(&self.server.name, &first)
    }

    /// What the journal tells of a k3s that ends again and again.
    async fn trouble(&self, machine: &Machine, unit: &Unit) -> Result<(Option<Trouble>, String)> {
        let look = Look::Journal {
            unit: UNIT.to_owned(),
            lines: 80,
        };
        let journal = machine.look(&look).await?;
        let recent = since_start(&journal.stdout, unit.restarts);
        Ok((classify(recent), journal.last_words().to_owned()))
    }
}

#[async_trait]
impl Step for K3sStarted {
    fn id(&self) -> StepId {
        id(&self.server.name)
    }

    fn title(&self) -> String {
        match &self.via {
            None => format!("Start k3s on {}", self.server.name),
            Some(via) => format!("Join {} to {via}", self.server.name),
        }
    }

    fn needs(&self) -> Vec<StepId> {
        self.needs.clone()
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(300)
    }

    fn code(&self) -> Code {
        Code::K3sStart
    }

    fn hint(&self) -> String {
        format!("on {}: sudo journalctl -u k3s -n 50", self.server.name)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let machine = world.server(&self.server).await?;
        let unit = Unit::look(machine, UNIT).await?;
        if !matches!(unit.active.as_str(), "active" | "activating" | "reloading") {
            return Ok(Finding::differs("k3s is not started"));
        }
        let kubernetes = Kubernetes {
            server: machine.clone(),
        };
        let why = match kubernetes.ready().await? {
            Ok(()) if self.outdated(world, machine).await? => {
                return Ok(Finding::differs("k3s runs with an older configuration"));
            }
            Ok(()) => return Ok(Finding::done()),
            Err(why) => why,
        };
        if unit.restarts == 0 {
            return Ok(Finding::Unknown(format!(
                "its API does not answer yet: {why}"
            )));
        }
        let (trouble, words) = self.trouble(machine, &unit).await?;
        match trouble {
            // What an earlier run left failing may be cured by what this one applies.
            Some(trouble) if !trouble.passes && self.applied.load(Ordering::Relaxed) => {
                Err(Failure::new(
                    Code::K3sStart,
                    format!("k3s does not start on {}", self.server.name),
                )
                .because(format!("{} ({words})", trouble.cause))
                .hint(self.hint_of(world, trouble))
                .lasting())
            }
            Some(trouble) => Ok(Finding::Unknown(format!(
                "{}; {}",
                trouble.cause,
                self.hint_of(world, trouble)
            ))),
            None if unit.restarts >= LOOP && self.applied.load(Ordering::Relaxed) => {
                Err(Failure::new(
                    Code::K3sStart,
                    format!("k3s does not stay up on {}", self.server.name),
                )
                .because(format!(
                    "it ended {} times; its last words: {words}",
                    unit.restarts
                ))
                .hint(self.hint())
                .lasting())
            }
            None => Ok(Finding::Unknown(format!(
                "it ended {} and starts again: {words}",
                if unit.restarts == 1 {
                    "once".to_owned()
                } else {
                    format!("{} times", unit.restarts)
                }
            ))),
        }
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let machine = world.server(&self.server).await?;
        let unit = Unit::look(machine, UNIT).await?;
        let outdated = unit.active == "active" && self.outdated(world, machine).await?;
        if outdated && !self.allow_outage {
            return Err(Failure::new(
                Code::PlanConflict,
                format!(
                    "k3s on {} must restart to read its changed configuration",
                    self.server.name
                ),
            )
            .hint("run again with --allow-outage"));
        }
        let turn = if outdated {
            let leaving = std::slice::from_ref(&self.server);
            Some(self.turns.take(world, leaving).await?)
        } else {
            None
        };
        // A start that is under way is left alone; one that fails again and again gets a fresh count.
        let verb = if outdated || unit.restarts > 0 {
            "restart"
        } else {
            "start"
        };
        // Never blocking: systemd would wait for readiness without a limit.
        let script = Script::new(
            "systemctl daemon-reload; systemctl reset-failed k3s 2>/dev/null; systemctl {} --no-block k3s",
            &[verb],
        );
        machine.must(hands, "starting k3s", &script).await?;
        self.applied.store(true, Ordering::Relaxed);
        match turn {
            Some(turn) => {
                let readings = k3s::readings(&world.plan, &self.server, &world.secrets)?;
                turn.end(world, machine, UNIT, Some(&readings)).await
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    fn step() -> K3sStarted {
        K3sStarted {
            server: plan().servers[1].clone(),
            via: Some("k3s-cp-1".into()),
            needs: Vec::new(),
            allow_outage: false,
            turns: Turns::default(),
            applied: AtomicBool::new(false),
        }
    }

    fn failing(line: &str) -> Fake {
        Fake::new()
            .says(
                "ActiveState",
                "ActiveState=activating\nSubState=auto-restart\nNRestarts=2\n",
            )
            .answers("readyz", 1, "")
            .says("journalctl", line)
    }

    /// A mistake that waiting cannot cure must not cost five minutes, nor stop a run that is about to cure it.
    #[tokio::test]
    async fn a_lasting_trouble_ends_the_wait_only_after_we_started_it() {
        let fake = failing("critical configuration value mismatch\n");
        let world = world(&[("k3s-cp-2", &fake)]);
        let step = step();
        assert!(matches!(
            step.check(&world).await.unwrap(),
            Finding::Unknown(_)
        ));
        step.apply(&world, &hands()).await.unwrap();
        assert!(fake.was_told("systemctl restart --no-block k3s"));
        let failure = step.check(&world).await.unwrap_err();
        assert!(failure.is_lasting() && failure.hint.is_some(), "{failure}");
    }

    #[tokio::test]
    async fn a_learner_queue_is_waited_for() {
        let fake = failing("etcdserver: too many learner members in cluster\n");
        let step = step();
        step.applied.store(true, Ordering::Relaxed);
        let found = step.check(&world(&[("k3s-cp-2", &fake)])).await.unwrap();
        assert!(matches!(found, Finding::Unknown(why) if why.contains("one in at a time")));
    }
}
