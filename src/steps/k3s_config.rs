//! A server's k3s configuration lies on it, root's alone, before k3s does.

use async_trait::async_trait;

use super::difference;
use super::file::File;
use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::k3s::{self, ENVIRONMENT_PATH, MARK, REGISTRIES_PATH};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Server;
use crate::remote::{Machine, Script};
use crate::world::World;

/// Where k3s keeps the token that its data is encrypted with.
const TOKEN_PATH: &str = "/var/lib/rancher/k3s/server/token";

pub(super) struct K3sConfig {
    server: Server,
}

pub(super) fn id(server: &str) -> StepId {
    StepId::new("k3s-config", server)
}

impl K3sConfig {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }

    fn files(&self, world: &World) -> Result<Vec<File>> {
        generate::server_files(&world.plan, &self.server, &world.secrets)
    }

    /// A file of ours that cluster.toml no longer asks for.
    async fn leftover(&self, world: &World, machine: &Machine) -> Result<Option<&'static str>> {
        let files = self.files(world)?;
        for path in [REGISTRIES_PATH, ENVIRONMENT_PATH] {
            if files.iter().all(|file| file.path != path)
                && let Some(text) = machine.read(path).await?
                && text.starts_with(MARK)
            {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// k3s cannot read its own data with another token, so that is refused before anything is written.
    async fn same_cluster(&self, world: &World, machine: &Machine) -> Result<()> {
        let Some(token) = machine.read(TOKEN_PATH).await? else {
            return Ok(());
        };
        let password = k3s::password(&token);
        let secrets = &world.secrets;
        let mut known = std::iter::once(&secrets.server_token).chain(&secrets.retired.server);
        if known.any(|token| token.expose() == password) {
            return Ok(());
        }
        Err(Failure::new(
            Code::PlanConflict,
            format!("{} holds a cluster with another token", self.server.name),
        )
        .because("its data was made by a run with other secrets")
        .hint("put that run's state directory back, or make the VM anew"))
    }
}

#[async_trait]
impl Step for K3sConfig {
    fn id(&self) -> StepId {
        id(&self.server.name)
    }

    fn title(&self) -> String {
        format!("Configure k3s on {}", self.server.name)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![super::vm_reachable::id(&self.server.name)]
    }

    fn hint(&self) -> String {
        format!("on {}: df -h /etc", self.server.name)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let machine = world.server(&self.server).await?;
        self.same_cluster(world, machine).await?;
        for file in self.files(world)? {
            if let Some(why) = file.differs(machine).await? {
                return Ok(Finding::Differs(why));
            }
        }
        if let Some(path) = self.leftover(world, machine).await? {
            return Ok(Finding::differs(format!("{path} is no longer asked for")));
        }
        Ok(Finding::done())
    }

    async fn diff(&self, world: &World) -> Result<String> {
        difference::of_files(world.server(&self.server).await?, self.files(world)?).await
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let machine = world.server(&self.server).await?;
        self.same_cluster(world, machine).await?;
        for file in self.files(world)? {
            file.write(machine, hands).await?;
        }
        while let Some(path) = self.leftover(world, machine).await? {
            let remove = Script::new("rm -f -- {}", &[path]);
            machine
                .must(hands, "removing what is no longer asked for", &remove)
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    fn step() -> K3sConfig {
        K3sConfig::new(&plan().servers[0])
    }

    #[tokio::test]
    async fn a_server_of_another_token_is_refused_untouched() {
        let fake = Fake::new().says(TOKEN_PATH, "K10abc::server:another\n");
        let world = world(&[("k3s-cp-1", &fake)]);
        assert_eq!(
            step().check(&world).await.unwrap_err().code,
            Code::PlanConflict
        );
        assert!(step().apply(&world, &hands()).await.is_err());
        assert!(!fake.was_told("mv -f"));
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
            assert_eq!(found, ours.then_some(REGISTRIES_PATH), "{text}");
        }
    }

    /// Tokens travel by stdin: a command line is seen by everybody on the machine.
    #[tokio::test]
    async fn no_token_is_in_a_command_line() {
        let fake = Fake::new()
            .answers(TOKEN_PATH, 1, "")
            .answers("stat -c", 1, "");
        step()
            .apply(&world(&[("k3s-cp-1", &fake)]), &hands())
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
