//! Whether a running process has read its current configuration. Its environment says so, not times: clocks jump.

use crate::failure::Result;
use crate::k3s;
use crate::names::k3s::UNIT;
use crate::plan::{Daemon, Server};
use crate::remote::{Machine, Probe};
use crate::secret::sha256;
use crate::steps::daemon::config::host_yaml;
use crate::world::World;

/// A process that restarts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Process<'p> {
    /// A daemon of Slicer.
    Daemon(&'p Daemon),
    /// A server's k3s.
    Server(&'p Server),
}

impl Process<'_> {
    /// Its unit.
    pub(crate) fn unit(self) -> String {
        match self {
            Self::Daemon(daemon) => daemon.unit(),
            Self::Server(_) => UNIT.to_owned(),
        }
    }

    /// Whether it has read what it should have; `machine` is where it runs.
    pub(crate) async fn has_read(self, world: &World, machine: &Machine) -> Result<bool> {
        Ok(self.unread(world, machine).await?.is_none())
    }

    /// What it has not read.
    pub(crate) async fn unread(self, world: &World, machine: &Machine) -> Result<Option<String>> {
        match self {
            // What a person wrote is no older than what that person wants.
            Self::Daemon(daemon) if daemon.adopted.is_some() => Ok(None),
            Self::Daemon(daemon) => {
                let yaml = host_yaml(world, daemon)?;
                let current = runs_with(machine, &daemon.unit(), &[yaml.content]).await?;
                Ok((!current).then(|| "its configuration".to_owned()))
            }
            Self::Server(server) => unread_by_server(world, server, machine).await,
        }
    }
}

/// A server's process is asked for its proxies, too: they may have come from another file than ours.
async fn unread_by_server(
    world: &World,
    server: &Server,
    machine: &Machine,
) -> Result<Option<String>> {
    let readings = k3s::readings(&world.plan, server, &world.secrets)?;
    let probe = Probe::RunningProxies(UNIT.to_owned());
    let asked = (runs_with(machine, UNIT, &readings), machine.probe(&probe));
    let (current, proxies) = tokio::try_join!(asked.0, asked.1)?;
    if !current {
        return Ok(Some("its configuration".to_owned()));
    }
    let proxy = k3s::other_proxy(&world.plan, &proxies.stdout);
    Ok(proxy.map(str::to_owned))
}

/// Whether a unit's running process was started with one of these configurations.
async fn runs_with(machine: &Machine, unit: &str, configurations: &[String]) -> Result<bool> {
    let probe = Probe::RunningConfig(unit.to_owned());
    let has = machine.probe(&probe).await?.stdout;
    let mut configurations = configurations.iter();
    Ok(configurations.any(|text| has.trim() == sha256(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ours::MARK;
    use crate::testing::{Fake, plan, world};

    /// Its configuration's hash says nothing of a proxy that k3s's install script copied to a file of its own.
    #[tokio::test]
    async fn a_server_that_runs_with_another_proxy_has_not_read_its_own() {
        let servers = plan().servers;
        let empty = Fake::new();
        let readings = k3s::readings(
            &plan(),
            &servers[0],
            &world(&[("k3s-cp-1", &empty)]).secrets,
        );
        let hash = sha256(readings.unwrap()[0].as_bytes());
        let proxy = format!("HTTPS_PROXY {}\n", sha256(b"http://a:1"));
        for (proxies, current) in [("", true), (&*proxy, false)] {
            let fake = Fake::new()
                .says("for name in NO_PROXY", proxies)
                .says("SLICER_K3S_CONFIG", &hash);
            let world = world(&[("k3s-cp-1", &fake)]);
            let machine = world.server(&servers[0]).await.unwrap();
            let process = Process::Server(&servers[0]);
            assert_eq!(process.has_read(&world, machine).await.unwrap(), current);
        }
    }

    /// A restart would not remove what a person's own file sets: it must not be asked for again and again.
    #[test]
    fn what_a_persons_own_file_sets_is_set_elsewhere() {
        use std::os::unix::fs::PermissionsExt as _;
        use std::process::Command;

        let directory = tempfile::tempdir().unwrap();
        let (bin, file) = (
            directory.path().join("systemctl"),
            directory.path().join("default"),
        );
        let mut process = Command::new("sleep")
            .arg("30")
            .env("HTTPS_PROXY", "http://a:1")
            .spawn()
            .unwrap();
        let text = format!(
            "#!/bin/sh\ncase $* in *MainPID*) echo {};; *EnvironmentFiles*) echo '{} (ignore_errors=yes)';; esac\n",
            process.id(),
            file.display()
        );
        fs_err::write(&bin, text).unwrap();
        fs_err::set_permissions(&bin, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!(
            "{}:{}",
            directory.path().display(),
            std::env::var("PATH").unwrap()
        );
        let script = Probe::RunningProxies(UNIT.to_owned()).script();
        let plan = plan();
        let mut others = Vec::new();
        for mark in ["", MARK] {
            fs_err::write(&file, format!("{mark}HTTPS_PROXY=http://a:1\n")).unwrap();
            let mut shell = Command::new("bash");
            let said = shell
                .args(["-c", script.text()])
                .env("PATH", &path)
                .output();
            let said = String::from_utf8(said.unwrap().stdout).unwrap();
            assert!(
                said.contains("HTTPS_PROXY ") && !said.contains("http://a:1"),
                "{said}"
            );
            others.push(k3s::other_proxy(&plan, &said));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        assert_eq!(others, [None, Some("HTTPS_PROXY")]);
    }
}
