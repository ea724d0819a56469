//! A last snapshot of etcd lies on the workstation, 0600. The server token that opens it lies in the same directory.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::k3s::SNAPSHOTS_DIRECTORY;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::remote::Script;
use crate::secret::Secret;
use crate::steps::CLUSTER;
use crate::world::World;

pub(super) struct SnapshotKept {
    file: PathBuf,
}

pub(super) fn id() -> StepId {
    StepId::new("snapshot-kept", CLUSTER)
}

impl SnapshotKept {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }
}

/// Prints "SHA256  PATH" of the snapshot it took: the file's name ends in what k3s adds to ours.
const SAVE: &str = "set -e; n={}; d={}
k3s etcd-snapshot save --name \"$n\" >&2
sha256sum -- \"$d/$n\"*";

#[async_trait]
impl Step for SnapshotKept {
    fn id(&self) -> StepId {
        id()
    }

    fn title(&self) -> String {
        "Keep a last snapshot of etcd".into()
    }

    fn hint(&self) -> String {
        "on a server: sudo k3s etcd-snapshot save; or run again without --snapshot".into()
    }

    async fn check(&self, _: &World) -> Result<Finding> {
        Ok(match fs_err::metadata(&self.file) {
            Ok(facts) => Finding::Done(format!("{}, {} bytes", self.file.display(), facts.len())),
            Err(_) => Finding::differs(format!("{} does not exist", self.file.display())),
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let server = world.first_server().await?;
        let mark = Secret::random_hex(4)
            .map_err(|error| Failure::new(Code::LocalFile, "no random numbers").because(error))?;
        let name = format!("slicer-k3s-last-{}", mark.expose());
        let script = Script::new(SAVE, &[&name, SNAPSHOTS_DIRECTORY]).limit(Duration::from_mins(5));
        let saved = server.must(hands, "taking a snapshot", &script).await?;
        let Some((hash, path)) = saved.stdout.lines().next().and_then(|l| l.split_once("  "))
        else {
            return Err(Failure::new(
                Code::Kubernetes,
                format!("{} took no snapshot", server.name()),
            )
            .because(saved.last_words())
            .hint(self.hint()));
        };
        server.fetch(path, &self.file, hash).await
    }
}
