//! A server's etcd data makes room for another cluster's: it is moved, never deleted.

use std::time::Duration;

use async_trait::async_trait;

use crate::control_plane::{self, ControlPlane};
use crate::failure::Result;
use crate::k3s::SERVER_DIRECTORY;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Server;
use crate::remote::{Machine, Script};
use crate::world::World;

pub(super) struct DataSetAside {
    server: Server,
    /// Whether its certificates are another cluster's, too.
    foreign: bool,
}

pub(super) fn id(server: &str) -> StepId {
    StepId::new("data-set-aside", server)
}

impl DataSetAside {
    /// Of a server whose data was given up.
    pub(super) fn new(server: &Server, control_plane: &ControlPlane) -> Option<Self> {
        let foreign = *control_plane.set_aside.get(&server.name)?;
        Some(Self {
            server: server.clone(),
            foreign,
        })
    }
}

/// Only `db/etcd` has to go: snapshots lie beside it. A server with the certificates of another cluster is refused by the
/// one that it joins, so these go with it.
///
/// Source: k3s, pkg/cluster/bootstrap.go `ReconcileBootstrapData`.
const SET_ASIDE: &str = "set -e
systemctl stop k3s 2>/dev/null || true
if systemctl -q is-active k3s; then echo 'k3s does not stop' >&2; exit 1; fi
cd {}
now=$(date +%s)
if [ -e db/etcd ]; then mv -T -- db/etcd \"db/etcd-old-$now\"; fi
if [ {} = foreign ]; then
    for part in token agent-token cred tls; do if [ -e \"$part\" ] || [ -L \"$part\" ]; then mv -T -- \"$part\" \"$part-old-$now\"; fi; done
fi
sync -f .";

#[async_trait]
impl Step for DataSetAside {
    fn id(&self) -> StepId {
        id(&self.server.name)
    }

    fn title(&self) -> String {
        format!("Move the etcd data of {} aside", self.server.name)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![super::vm_reachable::id(&self.server.name)]
    }

    fn hint(&self) -> String {
        format!("on {}: ls -l {SERVER_DIRECTORY}/db", self.server.name)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let held = control_plane::ask(world.server(&self.server).await?).await?;
        Ok(if held.data {
            Finding::differs("it holds a cluster's data that was given up")
        } else if self.foreign && held.ca.is_some() {
            Finding::differs("it has the certificates of a cluster that was given up")
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        set_aside(world.server(&self.server).await?, hands, self.foreign).await
    }
}

/// Stops k3s and moves what it holds aside; of another cluster's server its certificates, too.
pub(super) async fn set_aside(machine: &Machine, hands: &Hands, foreign: bool) -> Result<()> {
    let which = if foreign { "foreign" } else { "own" };
    let script = Script::new(SET_ASIDE, &[SERVER_DIRECTORY, which]).limit(Duration::from_mins(2));
    let what = "moving the etcd data aside";
    machine.must(hands, what, &script).await.map(drop)
}
