//! A server's etcd data makes room for another cluster's: it is moved, never deleted.

use std::time::Duration;

use async_trait::async_trait;

use crate::control_plane::{self, ControlPlane};
use crate::failure::Result;
use crate::names::k3s::SERVER_DIRECTORY;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Server;
use crate::remote::{Machine, Script};
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct DataSetAside {
    server: Server,
    /// Whether its certificates are another cluster's, too.
    foreign: bool,
}

impl DataSetAside {
    /// Of a server whose data was given up.
    pub(crate) fn new(server: &Server, control_plane: &ControlPlane) -> Option<Self> {
        let foreign = *control_plane.set_aside.get(&server.name)?;
        Some(Self {
            server: server.clone(),
            foreign,
        })
    }
}

/// `db/etcd` has to go; snapshots lie beside it. A `state.db` beside it goes before, for it would become the datastore where the
/// etcd data are gone. A server with the certificates of another cluster is refused by the one that it joins, so these go, too.
///
/// Source: k3s, pkg/cluster/bootstrap.go `ReconcileBootstrapData`, pkg/etcd/etcd.go `migrateFromSQLite`.
const SET_ASIDE: &str = "set -e
systemctl stop k3s 2>/dev/null || true
if systemctl -q is-active k3s; then echo 'k3s does not stop' >&2; exit 1; fi
cd {}
now=$(date +%s)
which={}
if [ $which != first-start ]; then
    for part in state.db state.db-wal state.db-shm; do if [ -e \"db/$part\" ]; then mv -T -- \"db/$part\" \"db/$part-old-$now\"; fi; done
fi
if [ -e db/etcd ]; then mv -T -- db/etcd \"db/etcd-old-$now\"; fi
if [ $which = foreign ]; then
    for part in token agent-token cred tls; do if [ -e \"$part\" ] || [ -L \"$part\" ]; then mv -T -- \"$part\" \"$part-old-$now\"; fi; done
fi
sync -f .";

#[async_trait]
impl Step<World> for DataSetAside {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::DataSetAside.on(&self.server.name),
            format!("Move the etcd data of {} aside", self.server.name),
            format!("on {}: ls -l {SERVER_DIRECTORY}/db", self.server.name),
        )
        .needs([StepName::VmReachable.on(&self.server.name)])
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let held = control_plane::ask(world.server(&self.server).await?).await?;
        Ok(if held.data {
            Finding::differs("it holds a cluster's data that was given up")
        } else if self.foreign && held.ca.is_some() {
            Finding::differs("it has the certificates of a cluster that was given up")
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let machine = world.server(&self.server).await?;
        // The judgement refused such a server before the run; one that was changed since is left as it is.
        let held = control_plane::ask(machine).await?;
        let held = std::iter::once((self.server.name.as_str(), &held));
        if let Some(failure) = control_plane::in_sqlite(held) {
            return Err(failure);
        }
        let what = if self.foreign {
            Aside::Foreign
        } else {
            Aside::GivenUp
        };
        set_aside(machine, permit, what).await
    }
}

/// What is moved aside besides the etcd data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// A `state.db` beside it.
    GivenUp,
    /// That, and the certificates and tokens of another cluster.
    Foreign,
    /// Nothing: the next start copies a `state.db` into etcd once more.
    FirstStart,
}

/// Stops k3s and moves the etcd data aside, and what else is to go.
pub(crate) async fn set_aside(machine: &Machine, permit: &WritePermit, what: Aside) -> Result<()> {
    let which = match what {
        Aside::GivenUp => "given-up",
        Aside::Foreign => "foreign",
        Aside::FirstStart => "first-start",
    };
    let script = Script::new(SET_ASIDE, &[SERVER_DIRECTORY, which]).limit(Duration::from_mins(2));
    let what = "moving the etcd data aside";
    machine.must(permit, what, &script).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;
    use crate::testing::{Fake, machine, permit, plan, world};

    #[tokio::test]
    async fn a_live_sqlite_datastore_is_never_set_aside() {
        let fake = Fake::new().says("member/wal", "data=sqlite\nmembers=\nend\n");
        let step = DataSetAside {
            server: plan().servers[0].clone(),
            foreign: true,
        };
        let world = world(&[("k3s-cp-1", &fake)]);
        let failure = step.apply(&world, &permit()).await.unwrap_err();
        assert_eq!(failure.code, Code::Sqlite);
        assert!(!fake.was_told("systemctl stop") && !fake.was_told("mv -T"));
    }

    /// k3s would copy what is in it into the cluster that is founded next.
    #[tokio::test]
    async fn a_state_db_beside_etcd_data_goes_with_it() {
        let gone = ["etcd-old-7", "state.db-old-7", "state.db-wal-old-7"];
        for (what, left) in [
            (Aside::Foreign, gone),
            (Aside::GivenUp, gone),
            (
                Aside::FirstStart,
                ["etcd-old-7", "state.db", "state.db-wal"],
            ),
        ] {
            let fake = Fake::new();
            let server = machine("k3s-cp-1", fake.clone());
            set_aside(&server, &permit(), what).await.unwrap();
            let (command, _) = fake.told().pop().unwrap();
            let root = tempfile::tempdir().unwrap();
            let db = root.path().join("db");
            fs_err::create_dir_all(db.join("etcd/member/wal")).unwrap();
            for file in ["state.db", "state.db-wal"] {
                fs_err::write(db.join(file), "").unwrap();
            }
            let command = command
                .replace(
                    "/var/lib/rancher/k3s/server",
                    &root.path().display().to_string(),
                )
                .replace("systemctl", "false")
                .replace("$(date +%s)", "7");
            let done = std::process::Command::new("sh")
                .args(["-c", &command])
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            let entries = fs_err::read_dir(db).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, left);
        }
    }
}
