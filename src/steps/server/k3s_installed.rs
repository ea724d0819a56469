//! k3s of the pinned version is installed on a server, by the same script on every one, and not started by it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::control_plane::ControlPlane;
use crate::failure::{Code, Failure, Result};
use crate::k3s;
use crate::k3s::{ENVIRONMENT_PATH, Release, UNIT_ENVIRONMENT_PATH, UNIT_PATH, overrules};
use crate::kubernetes::Kubernetes;
use crate::names::k3s::{INSTALLER_URL, PROGRAM, UNIT};
use crate::names::kubernetes::SERVERS;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Server;
use crate::remote::{Machine, Probe, Script};
use crate::step_id::StepName;
use crate::steps::support::unit::Unit;
use crate::world::World;

/// The hash of the install script that the first server got; every other must get the same.
#[derive(Default)]
pub(crate) struct OneScript(Mutex<Option<(String, String)>>);

impl OneScript {
    /// Notes a server's script; the other server and its hash where they differ.
    fn differs(&self, server: &str, hash: &str) -> Option<(String, String)> {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (other, known) = first.get_or_insert_with(|| (server.to_owned(), hash.to_owned()));
        (known != hash).then(|| (other.clone(), known.clone()))
    }
}

pub(crate) struct K3sInstalled {
    server: Server,
    script: Arc<OneScript>,
    /// The server that it joins, where it comes back into a cluster that lives.
    via: Option<String>,
    /// The program as it was seen when the run began: (its stamp, its version).
    seen: Option<(String, String)>,
}

impl K3sInstalled {
    pub(crate) fn new(
        server: &Server,
        script: &Arc<OneScript>,
        control_plane: &ControlPlane,
    ) -> Self {
        let mut returning = control_plane.returning();
        let via = returning.find(|(name, _)| *name == server.name);
        Self {
            server: server.clone(),
            script: Arc::clone(script),
            via: via.map(|(_, via)| via.to_owned()),
            seen: control_plane.programs.get(&server.name).cloned(),
        }
    }

    /// The version that was decided; of a server that comes back the one that its cluster runs, for they may have been
    /// upgraded, and a newer server must not join older ones.
    async fn wanted(&self, world: &World) -> Result<String> {
        let decided = &world.plan.k3s.version;
        let Some(via) = &self.via else {
            return Ok(decided.clone());
        };
        let mut servers = world.plan.servers.iter();
        let Some(via) = servers.find(|server| server.name == *via) else {
            return Ok(decided.clone());
        };
        let kubernetes = Kubernetes::on(world.server(via).await?.clone());
        let nodes = kubernetes.list(&["nodes", "-l", SERVERS]).await?;
        let peers = nodes.iter().filter(|node| {
            let name = &node["metadata"]["name"];
            let mut servers = world.plan.servers.iter();
            *name != *self.server.name && servers.any(|server| *name == *server.name)
        });
        let versions = peers.filter_map(|node| {
            Release::parse(node["status"]["nodeInfo"]["kubeletVersion"].as_str()?)
        });
        let oldest = versions.min().map(|version| version.to_string());
        oldest.ok_or_else(|| {
            let what = format!("which k3s {} is to get is not known", self.server.name);
            Failure::new(Code::K3sInstall, what)
                .because("Kubernetes lists no other server, and it must not get a newer one than they have")
                .hint(format!("slicer-k3s kubectl get nodes -l {SERVERS}"))
        })
    }

    /// The version that is installed; none where nothing is. k3s is large and slow to start: the one that was just seen is
    /// not started again.
    async fn installed(&self, machine: &Machine) -> Result<Option<String>> {
        if let Some((stamp, version)) = &self.seen {
            let now = machine.probe(&Probe::FileStamp(PROGRAM.to_owned())).await?;
            if now.ok() && now.stdout.trim() == stamp {
                return Ok(Some(version.clone()));
            }
        }
        Self::printed(machine).await
    }

    /// The version that the program says itself; none only where the machine says that there is no such file: one that does
    /// not answer may be newer than what would take its place.
    async fn printed(machine: &Machine) -> Result<Option<String>> {
        let printed = machine.probe(&Probe::Version(PROGRAM.to_owned())).await?;
        // "k3s version v1.34.4+k3s1 (abcdef)"
        let version = printed.stdout.split_whitespace().nth(2);
        if let Some(version) = version.filter(|_| printed.ok()) {
            return Ok(Some(version.to_owned()));
        }
        let there = machine.probe(&Probe::Exists(PROGRAM.to_owned())).await?;
        if there.ok() && there.stdout.trim() == "no" {
            return Ok(None);
        }
        let name = machine.name();
        Err(Failure::new(
            Code::K3sInstall,
            format!("the k3s on {name} does not say which version it is"),
        )
        .because(printed.last_words())
        .hint(format!(
            "on {name}: {PROGRAM} --version; where it is damaged, sudo rm {PROGRAM} and run again"
        )))
    }

    /// Refuses to replace what is installed by something that is not known to be newer: etcd and Kubernetes may have written
    /// what an older one cannot read.
    fn replaceable(&self, world: &World, installed: &str, wanted: &str) -> Result<()> {
        let name = &self.server.name;
        let differ = |why: &str| {
            let what = format!("k3s {installed} is installed on {name}, and {wanted} is to be");
            Failure::new(Code::K3sVersionsDiffer, what).because(why)
        };
        match (Release::parse(installed), Release::parse(wanted)) {
            (Some(old), Some(new)) if old <= new => Ok(()),
            (Some(_), Some(_)) => Err(differ("an older k3s is never installed over a newer one").hint(
                "slicer-k3s status shows what each server has and runs; slicer-k3s init takes over what all have",
            )),
            (_, new) => {
                let behind_proxy = !world.plan.k3s.environment.is_empty();
                let by_hand = new.and_then(|new| k3s::upgrade(name, &new, &new, behind_proxy).pop());
                let by_hand = by_hand.unwrap_or_else(|| self.meta().hint);
                let why = "one of them is no release of k3s, so it is not known which one is newer";
                Err(differ(why).hint(by_hand))
            }
        }
    }
}

/// Begins what the install script ends of.
///
/// Source: k3s@af977adf install.sh, `fatal`.
const ERROR: &str = "[ERROR]";

/// Saved and looked at before it runs: `curl | sh` succeeds when curl fails. Name resolution may need a few seconds
/// after a VM's first boot, hence the retries. Through the proxy that k3s itself will use, where there is one.
const DOWNLOAD: &str = "set -e
e={}; u={}
if grep -q '^# Written by slicer-k3s' \"$e\" 2>/dev/null; then set -a; . \"$e\"; set +a; fi
install -d -m 0700 /var/lib/slicer-k3s; cd /var/lib/slicer-k3s
curl -sSfL --retry 8 --retry-delay 1 --retry-all-errors --connect-timeout 10 -o install.new \"$u\"
if [ \"$(head -n 1 install.new)\" != '#!/bin/sh' ]; then echo \"$u sent no script\" >&2; exit 1; fi
mv -f install.new install.sh
sha256sum install.sh";

/// The script downloads without a limit: a connection that hangs would keep everyone waiting until ours. curl takes its limits
/// from a file, besides what root has set there.
///
/// The start is skipped because the script waits for it without a limit; the unit's words stay constant because
/// everything else is in config.yaml. What the script copies from this environment would overrule that, and proxies would stay
/// as they are now for ever: the copy is emptied, but for what a person has put there for containerd or kine.
const INSTALL: &str = "e={}; if grep -q '^# Written by slicer-k3s' \"$e\" 2>/dev/null; then set -a; . \"$e\"; set +a; fi
kept=$(grep -E '^(CONTAINERD|KINE)_' {} 2>/dev/null; echo .); kept=${kept%.}
export CURL_HOME=/var/lib/slicer-k3s
{ cat ~/.curlrc 2>/dev/null; printf '\\nconnect-timeout = 15\\nspeed-limit = 1000\\nspeed-time = 30\\nretry = 4\\n'; } >\"$CURL_HOME/.curlrc\"
INSTALL_K3S_VERSION={} INSTALL_K3S_SKIP_START=true INSTALL_K3S_EXEC=server \
     sh /var/lib/slicer-k3s/install.sh </dev/null || exit
(umask 077; printf '%s' \"$kept\" >{}.new) && mv -f {}.new {}";

#[async_trait]
impl Step<World> for K3sInstalled {
    fn meta(&self) -> Meta {
        let via = self.via.as_deref();
        Meta::new(
            StepName::K3sInstalled.on(&self.server.name),
            format!("Install k3s on {}", self.server.name),
            format!("on {}: curl -sI {INSTALLER_URL}", self.server.name),
        )
        .needs([StepName::K3sConfig.on(&self.server.name)])
        .needs(via.map(|server| StepName::K3sStarted.on(server)))
        .code(Code::K3sInstall)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let machine = world.server(&self.server).await?;
        let wanted = self.wanted(world).await?;
        let Some(version) = self.installed(machine).await? else {
            return Ok(Finding::differs("it is not installed"));
        };
        if version != wanted {
            self.replaceable(world, &version, &wanted)?;
            return Ok(Finding::differs(format!(
                "{version} is installed, not {wanted}"
            )));
        }
        if !Unit::look(machine, UNIT).await?.enabled() {
            return Ok(Finding::differs("its unit is not enabled"));
        }
        let unit = machine.read(UNIT_PATH).await?.unwrap_or_default();
        let environment = machine.read(UNIT_ENVIRONMENT_PATH).await?;
        if let Some(why) = overrules(&unit, &environment.unwrap_or_default()) {
            return Ok(Finding::differs(format!(
                "{why}, which overrules its configuration"
            )));
        }
        Ok(Finding::Done(version))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let machine = world.server(&self.server).await?;
        let wanted = self.wanted(world).await?;
        // Before it is replaced it says itself which one it is.
        if let Some(installed) = Self::printed(machine).await?
            && installed != wanted
        {
            self.replaceable(world, &installed, &wanted)?;
        }
        let failed = |mut failure: Failure| {
            if failure.code == Code::Command {
                failure.code = Code::K3sInstall;
            }
            failure
        };
        let download =
            Script::new(DOWNLOAD, &[ENVIRONMENT_PATH, INSTALLER_URL]).limit(Duration::from_mins(2));
        let output = machine
            .must(permit, "downloading the k3s install script", &download)
            .await
            .map_err(failed)?;
        let hash = output.stdout.split_whitespace().next().unwrap_or_default();
        if let Some((other, known)) = self.script.differs(&self.server.name, hash) {
            return Err(Failure::new(
                Code::K3sInstall,
                format!(
                    "{} and {other} got different install scripts",
                    self.server.name
                ),
            )
            .because(format!("sha256 {hash} and {known}"))
            .hint(format!(
                "run again; if it lasts, ask why {INSTALLER_URL} answers differently"
            )));
        }
        let copied = UNIT_ENVIRONMENT_PATH;
        let words = [ENVIRONMENT_PATH, copied, &wanted, copied, copied, copied];
        let install = Script::new(INSTALL, &words).limit(Duration::from_mins(10));
        let output = machine.run(permit, &install).await?;
        if output.ok() {
            return Ok(());
        }
        let mut words = output.stderr.lines().chain(output.stdout.lines());
        let error = words
            .rfind(|line| line.contains(ERROR))
            .unwrap_or_else(|| output.last_words());
        Err(Failure::new(
            Code::K3sInstall,
            format!("k3s's install script failed on {}", self.server.name),
        )
        .because(error)
        .hint(self.meta().hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, plan, world};

    fn step(n: usize, script: &Arc<OneScript>) -> K3sInstalled {
        K3sInstalled::new(&plan().servers[n], script, &ControlPlane::default())
    }

    #[tokio::test]
    async fn another_version_is_no_match() {
        for (printed, done) in [
            ("k3s version v1.34.4+k3s1 (abc)\ngo version x\n", true),
            ("k3s version v1.33.0+k3s1 (abc)\n", false),
            ("", false),
        ] {
            let fake = Fake::new()
                .says("--version", printed)
                .says("stat -L -c %n", "no\n")
                .says("systemctl", "UnitFileState=enabled\n");
            let script = Arc::default();
            let found = step(0, &script)
                .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{printed}");
        }
    }

    /// An operator's upgrade, undone without a question: the next start would run older code on newer data.
    #[tokio::test]
    async fn a_newer_k3s_is_never_replaced() {
        for printed in [
            "v1.34.5+k3s1",
            "v1.34.4+k3s2",
            "v1.35.0-rc1+k3s1",
            "v1.34.4+k3s-1a2b3c4d",
        ] {
            let fake = Fake::new().says("--version", &format!("k3s version {printed} (abc)\n"));
            let world = world(&[("k3s-cp-1", &fake)]);
            let step = step(0, &Arc::default());
            let failure = step.check(&world, Phase::Before).await.unwrap_err();
            assert_eq!(failure.code, Code::K3sVersionsDiffer, "{printed}");
            assert!(
                failure.is_permanent() && failure.hint.is_some(),
                "{failure}"
            );
            // Nor where somebody was quicker than the check.
            step.apply(&world, &permit()).await.unwrap_err();
            assert!(!fake.was_told("INSTALL_K3S"), "{printed}");
        }
    }

    /// It may be newer than the one that would be installed in its place.
    #[tokio::test]
    async fn a_k3s_that_does_not_answer_is_not_replaced() {
        for (status, printed) in [(124, ""), (0, ""), (139, "k3s version v1.34.4+k3s1 (abc)")] {
            let fake = Fake::new()
                .answers("--version", status, printed)
                .says("stat -L -c %n", "yes\n");
            let world = world(&[("k3s-cp-1", &fake)]);
            let step = step(0, &Arc::default());
            assert!(step.check(&world, Phase::Before).await.is_err());
            step.apply(&world, &permit()).await.unwrap_err();
            assert!(!fake.was_told("INSTALL_K3S"), "{status}");
        }
    }

    /// Of a run with nothing to do the start of a large program is a good part; one that was replaced is asked.
    #[tokio::test]
    async fn the_program_that_was_just_seen_is_not_started_again() {
        for (stamp, starts) in [("1 2 now\n", false), ("3 2 later\n", true), ("", true)] {
            let fake = Fake::new()
                .says("stat -L", stamp)
                .says("--version", "k3s version v1.34.3+k3s1 (abc)\n")
                .says("systemctl", "UnitFileState=enabled\n");
            let seen = ("1 2 now".to_owned(), "v1.34.4+k3s1".to_owned());
            let control_plane = ControlPlane {
                programs: [("k3s-cp-1".to_owned(), seen)].into(),
                ..ControlPlane::default()
            };
            let step = K3sInstalled::new(&plan().servers[0], &Arc::default(), &control_plane);
            let found = step
                .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Differs(_)), starts, "{stamp}");
            assert_eq!(fake.was_told("--version"), starts, "{stamp}");
        }
    }

    /// A server that was set up by hand would go on with the token in its unit's environment.
    #[tokio::test]
    async fn a_unit_that_overrules_the_configuration_is_written_anew() {
        let fake = Fake::new()
            .says("--version", "k3s version v1.34.4+k3s1 (abc)\n")
            .says("k3s.service.env", "K3S_TOKEN='x'\n")
            .says("systemctl", "UnitFileState=enabled\n");
        let world = world(&[("k3s-cp-1", &fake)]);
        let found = step(0, &Arc::default())
            .check(&world, Phase::Before)
            .await
            .unwrap();
        assert!(matches!(found, Finding::Differs(why) if why.contains("K3S_TOKEN")));
    }

    /// A proxy that was set when k3s was installed would stay for ever: the unit reads the script's copy last.
    #[tokio::test]
    async fn what_the_install_script_copied_from_the_environment_is_removed() {
        let fake = Fake::new()
            .says("--version", "k3s version v1.34.4+k3s1 (abc)\n")
            .says("k3s.service.env", "HTTPS_PROXY='http://a:1'\n")
            .says("systemctl", "UnitFileState=enabled\n");
        let world = world(&[("k3s-cp-1", &fake)]);
        let step = step(0, &Arc::default());
        let found = step.check(&world, Phase::Before).await.unwrap();
        assert!(matches!(found, Finding::Differs(why) if why.contains("HTTPS_PROXY")));
        step.apply(&world, &permit()).await.unwrap();
        let emptied = "\"$kept\" >/etc/systemd/system/k3s.service.env.new";
        assert!(fake.was_told(emptied));
    }

    #[tokio::test]
    async fn servers_with_different_scripts_are_refused() {
        let (one, two) = (
            Fake::new().says("sha256sum install.sh", "aaa  install.sh\n"),
            Fake::new().says("sha256sum install.sh", "bbb  install.sh\n"),
        );
        let none = |fake: Fake| fake.says("stat -L -c %n", "no\n");
        let (one, two) = (none(one), none(two));
        let world = world(&[("k3s-cp-1", &one), ("k3s-cp-2", &two)]);
        let script = Arc::default();
        step(0, &script).apply(&world, &permit()).await.unwrap();
        let failure = step(1, &script).apply(&world, &permit()).await.unwrap_err();
        assert_eq!(failure.code, Code::K3sInstall);
        assert!(one.was_told("INSTALL_K3S_SKIP_START=true") && !two.was_told("INSTALL_K3S_EXEC"));
    }
}
