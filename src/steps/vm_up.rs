//! A server's VM is there, at its planned address, with an agent that answers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::quorum::Turns;
use super::{Options, restart};
use crate::control_plane::ControlPlane;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Daemon, Plan, Server};
use crate::remote::Script;
use crate::slicer::{Slicer, Vm, console_log};
use crate::world::World;

/// A VM that runs and whose agent is silent for so long hangs in its boot; what takes longer is the pull of the image,
/// before it runs.
const BOOT: Duration = Duration::from_mins(3);

pub(super) struct VmUp {
    server: Server,
    after: Vec<StepId>,
    /// Whether its disk is gone, so that Slicer has to make a new one.
    without_disk: bool,
    allow_outage: bool,
    turns: Turns,
    /// Since when it has been seen to run.
    runs: Mutex<Option<Instant>>,
}

pub(super) fn id(server: &str) -> StepId {
    StepId::new("vm-up", server)
}

/// The refusal of a restart that makes a server's disk, and was not allowed.
pub(super) fn refusal(daemon: &Daemon, server: &Server, cost: &str) -> Failure {
    let what = format!(
        "{} on {} must restart to make a new disk for {}",
        daemon.unit(),
        server.host,
        server.name
    );
    Failure::new(Code::Outage, what)
        .because(cost)
        .hint("slicer-k3s init --allow-outage")
}

impl VmUp {
    pub(super) fn new(
        plan: &Plan,
        server: &Server,
        options: &Options,
        turns: &Turns,
        control_plane: &ControlPlane,
    ) -> Self {
        let without_disk = control_plane.without_disk.contains(&server.name);
        // A new disk may take a restart of the daemon, which reboots the group's other servers: what is to be done on them
        // comes after it, and one such restart after the other.
        let others = plan
            .servers_here()
            .take_while(|other| !without_disk || other.name != server.name)
            .filter(|other| other.name != server.name && other.group == server.group)
            .filter(|other| control_plane.without_disk.contains(&other.name));
        Self {
            server: server.clone(),
            after: others.map(|other| id(&other.name)).collect(),
            without_disk,
            allow_outage: options.allow_outage,
            turns: turns.clone(),
            runs: Mutex::new(None),
        }
    }

    async fn slicer(&self, world: &World) -> Result<Slicer> {
        let daemon = world.plan.daemon(&self.server.group).ok_or_else(|| {
            Failure::new(
                Code::Vm,
                format!("{} has no group in the plan", self.server.name),
            )
            .lasting()
        })?;
        world.slicer(daemon).await
    }

    async fn vm(&self, slicer: &Slicer) -> Result<Option<Vm>> {
        let vms = slicer.vms(&self.server.group).await?;
        Ok(vms.into_iter().find(|vm| vm.hostname == self.server.name))
    }

    /// For how long it has been seen to run.
    fn runs_for(&self) -> Duration {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get_or_insert_with(Instant::now).elapsed()
    }

    /// A VM that does not come up, with its console's last line.
    async fn silent(&self, world: &World) -> Failure {
        let words = self.last_words(world).await;
        let words = words.unwrap_or_else(|| "its console shows nothing".into());
        let (vm, host) = (&self.server.name, &self.server.host);
        Failure::new(Code::Vm, format!("{vm} on {host} does not come up"))
            .because(format!(
                "it runs, and its agent has not answered for {} s; its console's last line: {words}",
                BOOT.as_secs()
            ))
            .hint(format!(
                // Slicer refuses to delete what its YAML counts (403); what has stopped is relaunched by the next run.
                "{}; to boot it anew: sudo slicer vm shutdown {vm}, then run again; where that does not stop it: sudo \
                 systemctl restart slicer-{} (boots all of its servers)",
                self.hint(),
                self.server.group
            ))
            .lasting()
    }
}

#[async_trait]
impl Step for VmUp {
    fn id(&self) -> StepId {
        id(&self.server.name)
    }

    fn title(&self) -> String {
        format!("Boot {}", self.server.name)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![super::daemon_answers::id(&self.server.group)]
    }

    fn after(&self) -> Vec<StepId> {
        self.after.clone()
    }

    fn patience(&self) -> Duration {
        // The first start pulls the image.
        Duration::from_mins(10)
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(250)
    }

    fn code(&self) -> Code {
        Code::Vm
    }

    fn hint(&self) -> String {
        format!(
            "on {}: sudo tail -n 40 {}",
            self.server.host,
            console_log(&self.server.name)
        )
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let slicer = self.slicer(world).await?;
        let Some(vm) = self.vm(&slicer).await? else {
            return Ok(Finding::Unknown("Slicer does not list it yet".into()));
        };
        if vm.address() != self.server.address.to_string() {
            return Ok(Finding::differs(format!(
                "its address is {}, not {}",
                vm.address(),
                self.server.address
            )));
        }
        if !vm.runs() {
            *self.runs.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let status = vm.status.as_deref().unwrap_or("unknown");
            return Ok(Finding::differs(format!("its status is {status}")));
        }
        // An agent that is silent is an error of the API's, too; the API itself has just answered.
        let why = match slicer.health(&self.server.name).await {
            Ok(health) if health.agent_answers() => return Ok(Finding::done()),
            Ok(_) => "its agent does not answer yet".to_owned(),
            Err(failure) => format!("its agent does not answer yet: {failure}"),
        };
        if self.runs_for() >= BOOT {
            return Err(self.silent(world).await);
        }
        Ok(Finding::Unknown(why))
    }

    async fn last_words(&self, world: &World) -> Option<String> {
        let daemon = world.plan.daemon(&self.server.group)?;
        super::console::last_line(world, daemon, &self.server.name).await
    }

    /// The daemon boots what its YAML counts when it starts. A VM that ended since then is ours to bring back: starting
    /// the daemon anew would reboot every server of the host.
    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let slicer = self.slicer(world).await?;
        match self.vm(&slicer).await? {
            Some(vm) if vm.runs() => Ok(()),
            Some(vm) => match slicer.wake(hands, &vm).await {
                Ok(()) => Ok(()),
                // Whether Slicer makes a disk where there is none is not documented.
                Err(refused) if self.without_disk => self.restart(world, hands, refused).await,
                Err(refused) => Err(refused.hint(format!(
                    "on {}: sudo systemctl restart {} boots it, and every other server of that host",
                    self.server.host,
                    self.unit(world)
                ))),
            },
            None if self.without_disk => {
                let refused = Failure::new(Code::Vm, "Slicer does not list it");
                self.restart(world, hands, refused).await
            }
            None => Ok(()),
        }
    }
}

impl VmUp {
    /// Its daemon's unit.
    fn unit(&self, world: &World) -> String {
        let daemon = world.plan.daemon(&self.server.group);
        daemon.map_or_else(String::new, crate::plan::Daemon::unit)
    }

    /// Restarts its daemon, which makes a disk for every VM that it counts and that has none.
    async fn restart(&self, world: &World, hands: &Hands, refused: Failure) -> Result<()> {
        let server = &self.server;
        let Some(daemon) = world.plan.daemon(&server.group) else {
            return Err(refused);
        };
        let mut others = Vec::new();
        for group in world.plan.carried(daemon) {
            let slicer = world.slicer(daemon).await?;
            let vms = slicer.vms(&group.group).await?;
            let running = vms.into_iter().filter(Vm::runs);
            others.extend(running.map(|vm| vm.hostname));
        }
        if !others.is_empty() && !self.allow_outage {
            let cost = format!(
                "Slicer does not relaunch it without its disk ({refused}), and a restart reboots {}",
                others.join(", ")
            );
            return Err(refusal(daemon, server, &cost));
        }
        let script = Script::new("systemctl restart --no-block -- {}", &[&daemon.unit()]);
        restart::restart(world, hands, daemon, &self.turns, &script).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    fn step() -> VmUp {
        VmUp::new(
            &plan(),
            &plan().servers[0],
            &crate::steps::tests::options(),
            &Turns::default(),
            &ControlPlane::default(),
        )
    }

    /// A restart for one server's disk rebooted the others in the middle of what was done on them.
    #[test]
    fn the_other_servers_of_a_daemon_wait_for_one_without_a_disk() {
        let plan = plan();
        let control_plane = ControlPlane {
            without_disk: vec!["k3s-cp-1".into(), "k3s-cp-3".into()],
            ..ControlPlane::default()
        };
        let after = |server: usize| {
            let (options, turns) = (crate::steps::tests::options(), Turns::default());
            VmUp::new(
                &plan,
                &plan.servers[server],
                &options,
                &turns,
                &control_plane,
            )
            .after()
        };
        assert_eq!(after(0), []);
        assert_eq!(after(1), [id("k3s-cp-1"), id("k3s-cp-3")]);
        assert_eq!(after(2), [id("k3s-cp-1")]);
    }

    /// Slicer starts what its YAML counts only when the daemon starts: without us a server that ended stays so.
    #[tokio::test]
    async fn a_server_that_ended_is_brought_back_and_one_that_runs_is_left_alone() {
        for (status, told) in [
            ("Stopped", Some("POST /vm/k3s-cp-1/relaunch")),
            ("Paused", Some("POST /vm/k3s-cp-1/resume")),
            ("Running", None),
        ] {
            let vms = format!(
                r#"[{{"hostname":"k3s-cp-1","ip":"192.168.137.2/24","status":"{status}"}}]"#
            );
            let host = Fake::new()
                .says("auth/token", "t0ken\n")
                .says("GET /hostgroup/k3s-cp/nodes", &vms)
                .says("GET /vm/k3s-cp-1/health", r#"{"agent_uptime":1}"#);
            let world = world(&[("n100", &host)]);
            let step = step();
            let found = step.check(&world).await.unwrap();
            assert_eq!(
                matches!(found, Finding::Done(_)),
                told.is_none(),
                "{found:?}"
            );
            step.apply(&world, &hands()).await.unwrap();
            assert_eq!(host.was_told("POST /"), told.is_some());
            assert!(told.is_none_or(|line| host.was_told(line)));
        }
    }

    /// The API answers for a VM whose agent hangs with an error: that is the VM's fault, and its time runs.
    #[tokio::test(start_paused = true)]
    async fn a_boot_that_hangs_ends_after_its_own_limit() {
        let vms = r#"[{"hostname":"k3s-cp-1","ip":"192.168.137.2/24","status":"Running"}]"#;
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says("GET /hostgroup/k3s-cp/nodes", vms);
        let world = world(&[("n100", &host)]);
        let step = step();
        assert!(matches!(
            step.check(&world).await.unwrap(),
            Finding::Unknown(why) if why.starts_with("its agent does not answer yet: ")
        ));
        tokio::time::advance(BOOT).await;
        let failure = step.check(&world).await.unwrap_err();
        assert_eq!(failure.code, Code::Vm);
        assert!(
            failure
                .hint
                .unwrap()
                .contains("slicer vm shutdown k3s-cp-1")
        );
    }
}
