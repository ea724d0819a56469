//! A host carries nothing of the cluster any more: the last fact, since by the mark a later run knows that more is left.

use async_trait::async_trait;

use crate::deletion::DeletablePath;
use crate::failure::Result;
use crate::fleet::Note;
use crate::names::ours::ROOT;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Mark;
use crate::remote::{Probe, Script};
use crate::step_id::{StepId, StepName};
use crate::world::World;

pub(crate) struct MarkGone {
    host: String,
    needs: Vec<StepId>,
}

impl MarkGone {
    pub(crate) fn new(host: &str, needs: &[StepId]) -> Self {
        Self {
            host: host.to_owned(),
            needs: needs.to_vec(),
        }
    }
}

/// The mark, the note of the last run and the cluster's directory on a host.
fn places(cluster: &str) -> [String; 3] {
    [
        Mark::path(cluster),
        Note::path(cluster),
        format!("{ROOT}/{cluster}"),
    ]
}

/// Directories that other clusters may use go only when they are empty.
const REMOVE: &str = "set -e; rm -rf --one-file-system -- {}; rm -f -- {} {} {}
for d in /var/lib/slicer-k3s /etc/slicer-k3s/routes.d /etc/slicer-k3s/own-addresses.d /etc/slicer-k3s/last-run.d /etc/slicer-k3s /usr/local/lib/slicer-k3s; do
  rmdir -- \"$d\" 2>/dev/null || true
done";

#[async_trait]
impl Step<World> for MarkGone {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::MarkGone.on(&self.host),
            format!("Take the cluster's mark off {}", self.host),
            format!("on {}: ls /etc/slicer-k3s {}", self.host, ROOT),
        )
        .needs(self.needs.clone())
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.host)?;
        let [mark, note, directory] = places(&world.plan.cluster);
        Ok(if host.read(&mark).await?.is_some() {
            Finding::differs(format!("{mark} is there"))
        } else if host.read(&note).await?.is_some() {
            Finding::differs(format!("{note} is there"))
        } else if host.probe(&Probe::Directory(directory.clone())).await?.ok() {
            Finding::differs(format!("{directory} is there"))
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let cluster = &world.plan.cluster;
        let [mark, note, directory] = places(cluster);
        let all = [directory, mark, note.clone(), format!("{note}.new")];
        let all = all
            .iter()
            .map(|path| DeletablePath::of_cluster(cluster, path))
            .collect::<Result<Vec<_>>>()?;
        let words: Vec<&str> = all.iter().map(DeletablePath::as_str).collect();
        let script = Script::new(REMOVE, &words);
        let host = world.host(&self.host)?;
        host.must(permit, "removing the cluster's mark", &script)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::daemon_gone::{DaemonGone, DaemonToRemove};
    use super::super::own_addresses_gone::OwnAddressesGone;
    use super::super::routes_gone::RoutesGone;
    use super::*;
    use crate::steps::AnyStep;
    use crate::testing::{Fake, world};

    /// A host whose sudo refused, or whose disk could no longer be read, counted as one that holds nothing: its removal was done,
    /// and its VMs ran on with nothing on record.
    #[tokio::test]
    async fn a_host_where_nothing_can_be_asked_is_not_one_without_anything() {
        let daemon = DaemonToRemove {
            group: "k3s-agents-1".into(),
            host: "ryzen".into(),
            shares: None,
            adopted: None,
            served_elsewhere: false,
        };
        let steps: [AnyStep; 4] = [
            Box::new(MarkGone::new("ryzen", &[])),
            Box::new(RoutesGone::new("ryzen")),
            Box::new(OwnAddressesGone::new("ryzen")),
            Box::new(DaemonGone::new("home", &daemon)),
        ];
        for (status, stderr) in [
            (1, "sudo: a password is required\n"),
            (126, "sh: cat: Input/output error\n"),
            (127, ""),
            (3, "cat: x: Input/output error\n"),
        ] {
            let host = Fake::new().refuses("", status, stderr);
            let world = world(&[("ryzen", &host)]);
            for step in &steps {
                let found = step.check(&world, Phase::Before).await;
                assert!(found.is_err(), "{:?}: {found:?}", step.id());
            }
        }
    }
}
