//! k3s on a server writes its password file again at each start: one that is newer than the cluster's data, as after a
//! change of the agents' token, would keep every later start from succeeding.

use async_trait::async_trait;

use crate::failure::Result;
use crate::generate;
use crate::k3s::UNIT_PATH;
use crate::names::k3s::UNIT;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Server;
use crate::remote::{Machine, Script};
use crate::step_id::StepName;
use crate::steps::support::unit::Unit;
use crate::world::World;

pub(crate) struct K3sPasswordFile {
    server: Server,
}

const RELOAD: &str = "! [ -e {} ] || systemctl daemon-reload";

/// Has systemd read k3s's unit again, where there is one: k3s's installer has it read what it installs.
pub(crate) async fn reload(machine: &Machine, permit: &WritePermit) -> Result<()> {
    let reload = Script::new(RELOAD, &[UNIT_PATH]);
    machine
        .must(permit, "having systemd read k3s's unit", &reload)
        .await
        .map(drop)
}

impl K3sPasswordFile {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }

    async fn machine<'w>(&self, world: &'w World) -> Result<&'w Machine> {
        world.server(&self.server).await.map(AsRef::as_ref)
    }
}

#[async_trait]
impl Step<World> for K3sPasswordFile {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::K3sPasswordFile.on(&self.server.name),
            format!(
                "Have k3s on {} write its password file at each start",
                self.server.name
            ),
            format!("on {}: systemctl cat k3s; df -h /etc", self.server.name),
        )
        .needs([StepName::VmReachable.on(&self.server.name)])
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let machine = self.machine(world).await?;
        if let Some(why) = generate::password_drop_in().differs(machine).await? {
            return Ok(Finding::Differs(why));
        }
        // A restart by systemd itself goes by what it has read.
        if Unit::look(machine, UNIT).await?.unread {
            return Ok(Finding::differs("systemd has not read k3s's unit yet"));
        }
        Ok(Finding::done())
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let machine = self.machine(world).await?;
        generate::password_drop_in().write(machine, permit).await?;
        reload(machine, permit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::sha256;
    use crate::testing::{Fake, permit, plan, world};

    /// After a change of the agents' token no restart must depend on that file, and nothing restarts for this.
    #[tokio::test]
    async fn a_running_server_gets_the_drop_in_without_a_restart() {
        let step = K3sPasswordFile::new(&plan().servers[0]);
        let fake = Fake::new().answers("stat -c", 1, "");
        let world = world(&[("k3s-cp-1", &fake)]);
        assert!(matches!(
            step.check(&world, Phase::Before).await.unwrap(),
            Finding::Differs(_)
        ));
        step.apply(&world, &permit()).await.unwrap();
        let told = fake.told();
        let written = told
            .iter()
            .find(|(_, stdin)| stdin.contains("ExecStartPre=-/bin/rm -f"));
        assert!(
            written
                .unwrap()
                .0
                .contains("k3s.service.d/slicer-k3s-password-file.conf")
        );
        assert!(fake.was_told("systemctl daemon-reload"));
        assert!(
            told.iter()
                .all(|(command, _)| !command.contains("systemctl restart"))
        );
    }

    /// Killed between the two, the next run must not take the file for the fact.
    #[tokio::test]
    async fn a_drop_in_that_systemd_has_not_read_does_not_count() {
        let step = K3sPasswordFile::new(&plan().servers[0]);
        let facts = format!(
            "644 0 0\n{}  -\n",
            sha256(generate::password_drop_in().content.as_bytes())
        );
        for (unread, done) in [("yes", false), ("no", true)] {
            let unit = format!("ActiveState=active\nNeedDaemonReload={unread}\n");
            let fake = Fake::new().says("stat -c", &facts).says("systemctl", &unit);
            let found = step
                .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
        }
    }
}
