//! A host keeps no routes for the cluster any more; where it keeps none at all, the keeper is gone, too.

use async_trait::async_trait;

use crate::deletion::DeletablePath;
use crate::failure::Result;
use crate::generate::{ROUTES_SCRIPT, ROUTES_UNIT, TABLES, routes_path, unit_path};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::remote::Script;
use crate::world::World;

pub(super) struct RoutesGone {
    host: String,
}

pub(super) fn id(host: &str) -> StepId {
    StepId::new("routes-gone", host)
}

impl RoutesGone {
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
        }
    }
}

/// Where the table lies, and where it lies while its routes are being deleted: a killed run leaves it for the next.
fn tables(cluster: &str) -> [String; 2] {
    [
        routes_path(cluster),
        format!("/etc/slicer-k3s/withdrawn.{cluster}"),
    ]
}

/// The keeper must not put back what we delete, so it begins anew without the table, or ends where none is left.
const WITHDRAW: &str = "set -e; t={}; w={}; n={}; u={}; k={}; a={}
if [ -f \"$t\" ]; then mv -f -- \"$t\" \"$w\"; fi
if [ -n \"$(ls -A \"$a\" 2>/dev/null)\" ]; then systemctl restart \"$n\"
elif [ -f \"$u\" ] && grep -q 'Written by slicer-k3s' \"$u\"; then
  systemctl -q disable \"$n\"; systemctl stop \"$n\"; rm -f -- \"$u\" \"$k\"
  if [ -f \"$u.before-slicer-k3s\" ]; then mv -f -- \"$u.before-slicer-k3s\" \"$u\"; fi
  systemctl daemon-reload
  if [ -f \"$u\" ]; then systemctl -q enable \"$n\"; fi
fi
if [ -f \"$w\" ]; then
  while read -r cidr via; do ip -4 route delete \"$cidr\" via \"$via\" 2>/dev/null || true; done <\"$w\"
  rm -f -- \"$w\"
fi";

#[async_trait]
impl Step for RoutesGone {
    fn id(&self) -> StepId {
        id(&self.host)
    }

    fn title(&self) -> String {
        format!("Withdraw the routes on {}", self.host)
    }

    fn hint(&self) -> String {
        format!("on {}: ip route; ls {TABLES}", self.host)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let host = world.host(&self.host)?;
        for table in tables(&world.plan.cluster) {
            if host.read(&table).await?.is_some() {
                return Ok(Finding::differs(format!("{table} is there")));
            }
        }
        Ok(Finding::done())
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let cluster = &world.plan.cluster;
        let [table, withdrawn] = tables(cluster);
        let table = DeletablePath::of_cluster(cluster, &table)?;
        let withdrawn = DeletablePath::of_cluster(cluster, &withdrawn)?;
        let unit = unit_path(ROUTES_UNIT);
        let words = [
            table.as_str(),
            withdrawn.as_str(),
            ROUTES_UNIT,
            &*unit,
            ROUTES_SCRIPT,
            TABLES,
        ];
        let script = Script::new(WITHDRAW, &words);
        let host = world.host(&self.host)?;
        host.must(hands, "withdrawing the routes", &script)
            .await
            .map(drop)
    }
}
