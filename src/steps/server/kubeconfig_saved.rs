//! The cluster's kubeconfig lies on the workstation, 0600, in a file of its own.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::k3s::api_url;
use crate::names::k3s::{CA_PATH, KUBECONFIG_PATH};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Plan, Server};
use crate::question::limited;
use crate::remote::Machine;
use crate::step_id::{StepId, StepName};
use crate::steps::Options;
use crate::steps::group::k3s_token_secret::same_cluster;
use crate::world::World;
use crate::{files, kubeconfig, yaml};

/// The server that the file names has this long to be reached; another one will do.
const ANSWER: Duration = Duration::from_secs(20);

pub(crate) struct KubeconfigSaved {
    path: PathBuf,
    needs: Vec<StepId>,
}

impl KubeconfigSaved {
    pub(crate) fn new(plan: &Plan, options: &Options) -> Self {
        Self {
            path: options.kubeconfig.clone(),
            needs: crate::steps::server::api_ready::needed(plan),
        }
    }

    fn here(&self) -> Option<String> {
        fs_err::read_to_string(&self.path).ok()
    }

    /// What the file is to hold: the kubeconfig of the server that it names, where that can be read, else of the first one
    /// whose API is ready. Each server makes an administrator's certificate of its own, so another server's is no news. `None`
    /// until k3s has written it.
    async fn wanted(&self, world: &World) -> Result<Option<String>> {
        let here = self.here().unwrap_or_default();
        let mut servers = world.plan.servers_here();
        let named = |server: &&Server| {
            let url = api_url(server);
            here.lines()
                .any(|line| line.trim_start() == format!("server: {url}"))
        };
        let named = servers.find(named);
        let theirs = match named.map(|server| limited(ANSWER, read_on(world, server))) {
            Some(read) => read.await.ok().and_then(Result::ok),
            None => None,
        };
        let (machine, read) = match theirs {
            Some(theirs) => theirs,
            None => read_first(world).await?,
        };
        let mut servers = world.plan.servers.iter();
        let server = servers.find(|server| server.name == machine.name());
        let server = server
            .ok_or_else(|| Failure::new(Code::SshUnreachable, "no host of a server is there"))?;
        let Some((text, ca)) = read else {
            return Ok(None);
        };
        same_cluster(world, &server.name, &ca)?;
        let theirs = kubeconfig::parse(&text, &format!("{KUBECONFIG_PATH} on {}", server.name))?;
        let ours = kubeconfig::rename(theirs, &world.plan.cluster, &api_url(server))?;
        yaml::write(&ours).map(Some)
    }
}

/// A server with its kubeconfig and its CA; `None` until k3s has written them.
type Read<'w> = (&'w Machine, Option<(String, String)>);

/// Those of this server.
async fn read_on<'w>(world: &'w World, server: &Server) -> Result<Read<'w>> {
    read(world, world.server(server).await?).await
}

/// Those of the first server whose API is ready.
async fn read_first(world: &World) -> Result<Read<'_>> {
    read(world, world.first_server().await?).await
}

async fn read<'w>(world: &World, machine: &'w Machine) -> Result<Read<'w>> {
    let files = async {
        let Some(text) = machine.read(KUBECONFIG_PATH).await? else {
            return Ok(None);
        };
        let ca = machine.read(CA_PATH).await?;
        Ok(ca.map(|ca| (text, ca)))
    };
    let files: Result<_> = files.await;
    if files.is_err() {
        world.failed(machine).await;
    }
    Ok((machine, files?))
}

#[async_trait]
impl Step<World> for KubeconfigSaved {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::KubeconfigSaved.on_cluster(),
            "Save the kubeconfig",
            format!("ls -l {}", self.path.display()),
        )
        .needs(self.needs.clone())
        .timeout(Duration::from_secs(30))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let Some(wanted) = self.wanted(world).await? else {
            return Ok(Finding::Unknown("k3s has not written its own yet".into()));
        };
        Ok(match self.here() {
            None => Finding::differs(format!("{} does not exist", self.path.display())),
            Some(here) if here != wanted => Finding::differs("the server's own has changed"),
            Some(_) if !private(&self.path) => Finding::differs("others may read it"),
            Some(_) => Finding::Done(self.path.display().to_string()),
        })
    }

    async fn apply(&self, world: &World, _: &WritePermit) -> Result<()> {
        match self.wanted(world).await? {
            Some(wanted) => files::write_private(&self.path, wanted.as_bytes()),
            None => Err(Failure::new(
                Code::Kubernetes,
                format!("{KUBECONFIG_PATH} does not exist on the first server"),
            )
            .hint("run again when k3s has started")),
        }
    }
}

fn private(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::metadata(path).is_ok_and(|facts| facts.permissions().mode().trailing_zeros() >= 6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, world};

    /// The server that the file names, or that was chosen for the run, had died since: it was asked again and again.
    #[tokio::test(start_paused = true)]
    async fn the_kubeconfig_of_another_server_will_do_where_one_cannot_be_read() {
        let k3s = "clusters: [{name: default, cluster: {server: 'https://127.0.0.1:6443'}}]\nusers: [{name: default, user: {}}]\ncontexts: [{name: default, context: {}}]\n";
        let dir = tempfile::tempdir().unwrap();
        let step = KubeconfigSaved {
            path: dir.path().join("kubeconfig"),
            needs: Vec::new(),
        };
        let dead = Fake::new().answers(KUBECONFIG_PATH, 127, "");
        let well = Fake::new().says(KUBECONFIG_PATH, k3s);
        let world = world(&[("k3s-cp-1", &dead), ("k3s-cp-2", &well)]);
        assert!(step.wanted(&world).await.is_err());
        let wanted = step.wanted(&world).await.unwrap().unwrap();
        assert!(wanted.contains("192.168.137.3:6443"), "{wanted}");
        fs_err::write(&step.path, "    server: https://192.168.137.2:6443\n").unwrap();
        assert_eq!(step.wanted(&world).await.unwrap(), Some(wanted));
    }

    #[tokio::test]
    async fn it_is_saved_once_and_again_when_certificates_change() {
        let k3s = |key: &str| {
            format!(
                "clusters: [{{name: default, cluster: {{server: 'https://127.0.0.1:6443'}}}}]\nusers: [{{name: default, user: {{client-key-data: {key}}}}}]\ncontexts: [{{name: default, context: {{}}}}]\n"
            )
        };
        let dir = tempfile::tempdir().unwrap();
        let step = KubeconfigSaved {
            path: dir.path().join("kubeconfig"),
            needs: Vec::new(),
        };
        let first = Fake::new().says(KUBECONFIG_PATH, &k3s("QUJD"));
        let here = world(&[("k3s-cp-1", &first)]);
        assert!(matches!(
            step.check(&here, Phase::Before).await.unwrap(),
            Finding::Differs(_)
        ));
        step.apply(&here, &permit()).await.unwrap();
        assert!(matches!(
            step.check(&here, Phase::After).await.unwrap(),
            Finding::Done(_)
        ));
        // A run while the first server's host was off wrote another's, which has another key.
        let text = fs_err::read_to_string(&step.path).unwrap();
        let other = text
            .replace("192.168.137.2:", "192.168.137.3:")
            .replace("QUJD", "T1RI");
        assert_ne!(text, other);
        fs_err::write(&step.path, other).unwrap();
        let second = Fake::new().says(KUBECONFIG_PATH, &k3s("T1RI"));
        let back = world(&[("k3s-cp-1", &first), ("k3s-cp-2", &second)]);
        assert!(matches!(
            step.check(&back, Phase::After).await.unwrap(),
            Finding::Done(_)
        ));
        fs_err::write(&step.path, text).unwrap();
        let renewed = Fake::new().says(KUBECONFIG_PATH, &k3s("REVG"));
        let renewed = world(&[("k3s-cp-1", &renewed)]);
        assert!(matches!(
            step.check(&renewed, Phase::After).await.unwrap(),
            Finding::Differs(_)
        ));
    }
}
