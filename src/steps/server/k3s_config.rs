//! A server's k3s configuration lies on it, root's alone, before k3s does.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::try_join_all;

use crate::control_plane::{self, ControlPlane, Start};
use crate::deletion::DeletablePath;
use crate::failure::{Code, Failure, Result};
use crate::k3s::{ENVIRONMENT_PATH, REGISTRIES_PATH};
use crate::names::k3s::{AGENT_TOKEN_PATH, TOKEN_PATH};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Plan, Server};
use crate::remote::{Machine, Script};
use crate::step_id::{StepId, StepName};
use crate::steps::server::k3s_password_file::reload;
use crate::steps::support::diff;
use crate::steps::support::file::File;
use crate::world::World;
use crate::{generate, k3s};

/// How long others may take to say whether this server may start a cluster or has one to join.
const DECISION: Duration = Duration::from_mins(5);

pub(crate) struct K3sConfig {
    server: Server,
    start: Start,
    needs: Vec<StepId>,
    after: Vec<StepId>,
}

impl K3sConfig {
    pub(crate) fn new(plan: &Plan, server: &Server, control_plane: &ControlPlane) -> Self {
        let start = control_plane.start(&server.name).clone();
        // From here on k3s may restart by itself with another agent token.
        let mut needs = vec![StepName::K3sPasswordFile.on(&server.name)];
        // A new cluster begins when nobody holds the old one any more.
        let aside = control_plane.set_aside.keys();
        let aside = aside.filter(|name| start == Start::Found || **name == server.name);
        needs.extend(aside.map(|name| StepName::DataSetAside.on(name)));
        let undecided = start == Start::Undecided;
        let others = plan
            .servers_here()
            .filter(|other| undecided && other.name != server.name);
        Self {
            server: server.clone(),
            start,
            needs,
            after: others
                .map(|other| StepName::VmReachable.on(&other.name))
                .collect(),
        }
    }

    /// How the server starts, as far as that can be said now.
    async fn start(&self, world: &World) -> Result<Option<Start>> {
        match &self.start {
            Start::Undecided => control_plane::start_now(world, &self.server).await,
            start => Ok(Some(start.clone())),
        }
    }

    /// The same, waited for.
    async fn decided(&self, world: &World) -> Result<Start> {
        let begin = Instant::now();
        loop {
            if let Some(start) = self.start(world).await? {
                return Ok(start);
            }
            if begin.elapsed() >= DECISION {
                return Err(Failure::new(
                    Code::QuorumLost,
                    format!(
                        "{} has no data, and no cluster answers that it could join",
                        self.server.name
                    ),
                )
                .because(format!(
                    "after {} s no quorum of the other servers answers",
                    DECISION.as_secs()
                ))
                .hint("slicer-k3s status shows which servers are up"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The server that its file names; `None` founds the cluster.
    fn joins<'w>(&self, world: &'w World, start: &Start) -> Option<&'w Server> {
        let plan = &world.plan;
        let named = |name: &String| plan.servers.iter().find(|server| server.name == *name);
        match start {
            Start::Found => None,
            Start::Join { via, .. } => named(via),
            // With data it goes by none of them.
            Start::Member | Start::Undecided => k3s::joins(plan, &self.server),
        }
    }

    fn files(&self, world: &World, join: Option<&Server>) -> Result<Vec<File>> {
        generate::server_files_joining(&world.plan, &self.server, join, &world.secrets)
    }

    /// Why its files are not so, as one that joins this server.
    async fn differs(
        &self,
        world: &World,
        machine: &Machine,
        join: Option<&Server>,
    ) -> Result<Option<String>> {
        let files = self.files(world, join)?;
        let differ = try_join_all(files.iter().map(|file| file.differs(machine))).await?;
        Ok(differ.into_iter().flatten().next())
    }

    /// A file of ours that cluster.toml no longer asks for.
    async fn leftover(&self, world: &World, machine: &Machine) -> Result<Option<DeletablePath>> {
        let files = self.files(world, None)?;
        let others = [REGISTRIES_PATH, ENVIRONMENT_PATH].into_iter();
        let others = others.filter(|path| files.iter().all(|file| file.path != *path));
        let asked = others.map(|path| async move {
            let text = machine.read(path).await?;
            Ok::<_, Failure>(text.and_then(|text| DeletablePath::written_by_us(path, &text)))
        });
        Ok(try_join_all(asked).await?.into_iter().flatten().next())
    }

    /// Refuses a server whose drop-ins say otherwise than its file.
    async fn not_overruled(
        &self,
        world: &World,
        machine: &Machine,
        join: Option<&Server>,
    ) -> Result<()> {
        let config = k3s::config(&world.plan, &self.server, join, &world.secrets)?;
        crate::steps::server::parts::drop_ins::check(machine, &config).await
    }

    /// k3s cannot read its own data with another server token, and another agent token may be one that was replaced since:
    /// both are refused before anything is written.
    async fn same_cluster(&self, world: &World, machine: &Machine) -> Result<()> {
        let secrets = &world.secrets;
        let retired = &secrets.retired;
        // The agents' token is the servers' where nothing else was configured.
        let kept = [
            (
                TOKEN_PATH,
                "a cluster with another token",
                [
                    Some(&secrets.server_token),
                    retired.server.as_ref(),
                    None,
                    None,
                ],
            ),
            (
                AGENT_TOKEN_PATH,
                "another agent token",
                [
                    Some(&secrets.agent_token),
                    retired.agent.as_ref(),
                    Some(&secrets.server_token),
                    retired.server.as_ref(),
                ],
            ),
        ];
        for (path, what, known) in kept {
            // One that cannot be read may be any.
            let token = machine.read_if_there(path).await?.unwrap_or_default();
            let password = k3s::password(&token);
            let mut known = known.into_iter().flatten();
            if password.is_empty() || known.any(|token| token.expose() == password) {
                continue;
            }
            return Err(Failure::new(
                Code::RecordConflict,
                format!("{} holds {what}", self.server.name),
            )
            .because("it was made by a run with other secrets, or a token was replaced from another workstation")
            .hint(format!(
                "slicer-k3s import --force takes over what the servers have; to give up what {0} holds: slicer-k3s init --give-up {0}",
                self.server.name
            )));
        }
        Ok(())
    }
}

#[async_trait]
impl Step<World> for K3sConfig {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::K3sConfig.on(&self.server.name),
            format!("Configure k3s on {}", self.server.name),
            format!("on {}: df -h /etc", self.server.name),
        )
        .needs(self.needs.clone())
        .after(self.after.clone())
        // Deciding is part of it.
        .timeout(DECISION + Duration::from_secs(30))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let machine = world.server(&self.server).await?;
        self.same_cluster(world, machine).await?;
        let Some(start) = self.start(world).await? else {
            return Ok(Finding::Unknown(
                "it has no data, and the other servers have still to say whether a cluster is there".into(),
            ));
        };
        let join = self.joins(world, &start);
        let ((), differs, leftover) = tokio::try_join!(
            self.not_overruled(world, machine, join),
            self.differs(world, machine, join),
            self.leftover(world, machine)
        )?;
        if let Some(why) = differs {
            return Ok(Finding::Differs(why));
        }
        if let Some(path) = leftover {
            return Ok(Finding::differs(format!(
                "{} is no longer asked for",
                path.as_str()
            )));
        }
        Ok(Finding::done())
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let start = self.start(world).await?.unwrap_or(Start::Undecided);
        let join = self.joins(world, &start);
        diff::of_files(world.server(&self.server).await?, self.files(world, join)?).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let machine = world.server(&self.server).await?;
        self.same_cluster(world, machine).await?;
        let start = self.decided(world).await?;
        let join = self.joins(world, &start);
        self.not_overruled(world, machine, join).await?;
        if join.is_none() && start != Start::Found && !control_plane::ask(machine).await?.data {
            return Err(Failure::new(
                Code::QuorumLost,
                format!(
                    "{} has no data, and may not found a cluster",
                    self.server.name
                ),
            )
            .because("a cluster is there, or may be there, and no quorum of it answers")
            .hint("slicer-k3s status shows what each server holds"));
        }
        for file in self.files(world, join)? {
            file.write(machine, permit).await?;
        }
        while let Some(path) = self.leftover(world, machine).await? {
            let remove = Script::new("rm -f -- {}", &[path.as_str()]);
            machine
                .must(permit, "removing what is no longer asked for", &remove)
                .await?;
        }
        // So that a k3s that restarts by itself reports what it has read.
        reload(machine, permit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k3s::DROP_INS_PATH;
    use crate::testing::{Fake, permit, plan, world};

    fn step() -> K3sConfig {
        let plan = plan();
        let start = Start::Found;
        let control_plane = ControlPlane {
            starts: [("k3s-cp-1".to_owned(), start)].into(),
            ..ControlPlane::default()
        };
        K3sConfig::new(&plan, &plan.servers[0], &control_plane)
    }

    #[tokio::test]
    async fn a_server_of_another_token_is_refused_untouched() {
        let fake = Fake::new().says(TOKEN_PATH, "K10abc::server:another\n");
        let world = world(&[("k3s-cp-1", &fake)]);
        assert_eq!(
            step().check(&world, Phase::Before).await.unwrap_err().code,
            Code::RecordConflict
        );
        assert!(step().apply(&world, &permit()).await.is_err());
        assert!(!fake.was_told("mv -f"));
    }

    /// What a broken connection or disk does not give is no server without a cluster.
    #[tokio::test]
    async fn a_token_that_cannot_be_read_stops_the_run() {
        for path in [TOKEN_PATH, AGENT_TOKEN_PATH] {
            let fake = Fake::new()
                .says(DROP_INS_PATH, "== end\n")
                .answers(&format!("cat -- {path}"), 1, "")
                .says("stat -L -c %n", "yes\n");
            let world = world(&[("k3s-cp-1", &fake)]);
            assert!(step().apply(&world, &permit()).await.is_err(), "{path}");
            assert!(!fake.was_told("mv -f"), "{path}");
        }
    }

    /// A second workstation that has not heard of a rotation would put the token back that was replaced.
    #[tokio::test]
    async fn a_server_with_another_agent_token_is_refused_untouched() {
        let fake = Fake::new()
            .says(AGENT_TOKEN_PATH, "K10abc::node:newer\n")
            .says(TOKEN_PATH, "K10abc::server:5e7ve7\n");
        let world = world(&[("k3s-cp-1", &fake)]);
        let failure = step().apply(&world, &permit()).await.unwrap_err();
        assert!(
            failure.to_string().contains("another agent token"),
            "{failure}"
        );
        assert!(!fake.was_told("mv -f"));
    }

    /// Where agents join by the servers' token the two files are one.
    #[tokio::test]
    async fn a_server_whose_agents_join_by_the_servers_token_is_not_anothers() {
        let fake = Fake::new()
            .says(DROP_INS_PATH, "== end\n")
            .says(AGENT_TOKEN_PATH, "K10abc::server:5e7ve7\n")
            .says(TOKEN_PATH, "K10abc::server:5e7ve7\n")
            .answers("stat -c", 1, "");
        let world = world(&[("k3s-cp-1", &fake)]);
        step().apply(&world, &permit()).await.unwrap();
        assert!(fake.was_told("mv -f"));
    }

    /// What somebody else wrote there stays.
    #[tokio::test]
    async fn only_our_own_file_is_removed_once_it_is_no_longer_asked_for() {
        for (text, ours) in [
            ("# Written by slicer-k3s.\nmirrors: {}\n", true),
            ("mirrors: {}\n", false),
        ] {
            let fake = Fake::new().says_first(REGISTRIES_PATH, text);
            let world = world(&[("k3s-cp-1", &fake)]);
            let machine = world.server(&world.plan.servers[0]).await.unwrap();
            let found = step().leftover(&world, machine).await.unwrap();
            let found = found.as_ref().map(DeletablePath::as_str);
            assert_eq!(found, ours.then_some(REGISTRIES_PATH), "{text}");
        }
    }

    /// k3s would go by the drop-in, whatever is written here.
    #[tokio::test]
    async fn a_drop_in_that_overrules_the_file_is_refused_untouched() {
        let fake = Fake::new()
            .says(DROP_INS_PATH, "== 9.yaml\n disable: [coredns]\n== end\n")
            .answers(TOKEN_PATH, 1, "")
            .says("stat -L -c %n", "no\n");
        let world = world(&[("k3s-cp-1", &fake)]);
        assert!(step().check(&world, Phase::Before).await.is_err());
        assert!(step().apply(&world, &permit()).await.is_err());
        assert!(!fake.was_told("mv -f"));
    }

    /// Tokens travel by stdin: a command line is seen by everybody on the machine.
    #[tokio::test]
    async fn no_token_is_in_a_command_line() {
        let fake = Fake::new()
            .says(DROP_INS_PATH, "== end\n")
            .says("stat -L -c %n", "no\n")
            .answers(TOKEN_PATH, 1, "")
            .answers("stat -c", 1, "");
        step()
            .apply(&world(&[("k3s-cp-1", &fake)]), &permit())
            .await
            .unwrap();
        let told = fake.told();
        assert!(
            told.iter()
                .all(|(command, _)| !command.contains("5e7ve7") && !command.contains("a9e47"))
        );
        assert!(told.iter().any(|(_, stdin)| stdin.contains("5e7ve7")));
    }
}
