//! Every server is asked, side by side, what it holds.

use std::time::Duration;

use futures_util::future::join_all;

use super::held::Held;
use crate::failure::{Code, Failure, Result};
use crate::plan::{Daemon, Plan, Server};
use crate::question::limited;
use crate::remote::{Machine, Probe};
use crate::world::World;

/// A server that does not answer for so long counts as silent.
const LIMIT: Duration = Duration::from_secs(15);

/// How long a daemon is given to list its VMs where a server of its own was silent, and a first connection to each server.
const SOON: Duration = Duration::from_secs(5);

/// What is known of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It said what it holds.
    Answers(Held),
    /// Its VM runs and does not answer (yet), and why.
    Silent(String),
    /// Its VM does not run, and there is a disk, which has to be taken for one with data.
    Stopped,
    /// There is neither a VM that runs nor a disk.
    Nothing,
    /// Its host or its daemon does not answer, and why.
    Unreachable(Failure),
}

impl Observed {
    /// Whether it is known to hold no data.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Answers(held) => !held.data && !held.sqlite,
            Self::Nothing => true,
            _ => false,
        }
    }

    /// What it holds, where it has data.
    pub fn data(&self) -> Option<&Held> {
        match self {
            Self::Answers(held) if held.data => Some(held),
            _ => None,
        }
    }
}

/// Connects to all servers of the plan that can be reached soon, and asks them nothing: a head start, which is not worth a wait.
pub async fn connect_all(world: &World) {
    let servers = world.plan.servers.iter();
    let connected = servers.map(|server| limited(SOON, world.server(server)));
    // Whoever cannot be reached says why when it is asked.
    let _ = join_all(connected).await;
}

/// All servers of the plan, their versions of k3s included. On a cluster that was never made (`new`) the hosts' disks are
/// looked at first, for its VMs do not exist yet and need not be asked.
pub async fn ask_all(world: &World, new: bool) -> Vec<(Server, Observed)> {
    let asked = world.plan.servers.iter().map(|server| async move {
        let observed = if new {
            match has_disk(world, server).await {
                Ok(false) => Observed::Nothing,
                _ => ask_of(world, server, true).await,
            }
        } else {
            ask_of(world, server, true).await
        };
        (server.clone(), observed)
    });
    join_all(asked).await
}

/// All servers of the plan, in the middle of a run: only for what may have changed by then.
pub async fn ask_again(world: &World) -> Vec<(Server, Observed)> {
    let asked = world.plan.servers.iter().map(|server| async move {
        let observed = ask_of(world, server, false).await;
        (server.clone(), observed)
    });
    join_all(asked).await
}

/// One server, with its versions of k3s or without.
async fn ask_of(world: &World, server: &Server, versions: bool) -> Observed {
    if let Err(failure) = world.host(&server.host) {
        let absent = world
            .plan
            .absent
            .iter()
            .find(|(name, _)| *name == server.host);
        return Observed::Unreachable(absent.map_or(failure, |(_, why)| {
            Failure::new(Code::SshUnreachable, why.clone())
        }));
    }
    let asked = limited(LIMIT, async {
        held(world.server(server).await?, versions).await
    });
    let why = match asked.await {
        Ok(Ok(held)) => return Observed::Answers(held),
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => format!("no answer after {} s", LIMIT.as_secs()),
    };
    without_answer(world, server, why).await
}

/// What a server says that it holds; not its versions of k3s.
pub async fn ask(machine: &Machine) -> Result<Held> {
    held(machine, false).await
}

async fn held(machine: &Machine, versions: bool) -> Result<Held> {
    let output = machine.probe(&Probe::ServerData { versions }).await?;
    let held = output.ok().then(|| Held::parse(&output.stdout)).flatten();
    held.ok_or_else(|| {
        Failure::new(
            Code::Command,
            format!("{} does not say what its k3s holds", machine.name()),
        )
        .because(output.last_words())
    })
}

/// A server that does not answer: what its host knows of its VM.
async fn without_answer(world: &World, server: &Server, why: String) -> Observed {
    let runs = runs(world, server).await;
    if runs == Ok(true) {
        return Observed::Silent(why);
    }
    match (has_disk(world, server).await, runs) {
        (Ok(false), _) => Observed::Nothing,
        (Ok(true), Ok(_)) => Observed::Stopped,
        // Whether the VM runs is not known.
        (Ok(true), Err(failure)) | (Err(failure), _) => Observed::Unreachable(failure),
    }
}

/// Whether its VM runs, as its daemon says; the daemon's token and its answer take at most [`SOON`] each.
async fn runs(world: &World, server: &Server) -> Result<bool> {
    let daemon = daemon(world, server)?;
    let slicer = limited(SOON, world.slicer(daemon)).await;
    let slicer = slicer.unwrap_or_else(|_| {
        let what = format!("{} does not show its Slicer API token", daemon.host);
        let why = format!("no answer after {} s", SOON.as_secs());
        Err(Failure::new(Code::SlicerToken, what).because(why))
    })?;
    let vms = limited(SOON, slicer.vms(&daemon.group)).await;
    let vms = vms.unwrap_or_else(|_| Err(slicer.late(SOON)))?;
    let mut vms = vms.iter();
    Ok(vms.any(|vm| vm.hostname == server.name && vm.runs()))
}

fn daemon<'w>(world: &'w World, server: &Server) -> Result<&'w Daemon> {
    world.plan.daemon(&server.group).ok_or_else(|| {
        let what = format!("{} has no group in the plan", server.name);
        Failure::new(Code::Vm, what)
    })
}

/// Whether a VM's disk lies on its host.
///
/// A link to a drive that is not there now counts as one.
///
/// Source: Slicer's reference of storage: `<hostname>.img` in the daemon's working directory.
async fn has_disk(world: &World, server: &Server) -> Result<bool> {
    let host = world.host(&server.host)?;
    let daemon = daemon(world, server)?;
    let path = format!("{}/{}.img", directory(&world.plan, daemon), server.name);
    let output = host.probe(&Probe::Entry(path)).await?;
    match (output.ok(), output.stdout.trim()) {
        (true, "yes") => Ok(true),
        (true, "no") if daemon.adopted.is_none() => Ok(false),
        // Where a person chose the storage it may lie elsewhere.
        (true, "no") => Err(Failure::new(
            Code::Vm,
            format!("the VM of {} does not run", server.name),
        )),
        _ => Err(Failure::new(
            Code::Command,
            format!(
                "{} does not say whether it has a disk of {}",
                server.host, server.name
            ),
        )
        .because(output.last_words())),
    }
}

fn directory(plan: &Plan, daemon: &Daemon) -> String {
    match &daemon.adopted {
        Some(own) => own.directory.clone(),
        None => plan.directory(daemon),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plan, world};

    const VMS: &str = r#"[{"hostname":"k3s-cp-1","ip":"192.168.137.2/24","status":"Stopped"}]"#;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_did_not_come_is_never_an_empty_disk() {
        let server = &plan().servers[0];
        let ask = async |fake: &Fake| ask_of(&world(&[("n100", fake)]), server, true).await;
        let stopped = || {
            let fake = Fake::new().says("auth/token", "t0ken\n");
            fake.says("GET /hostgroup/k3s-cp/nodes", VMS)
        };
        let none = stopped().says(".img", "no\n");
        assert_eq!(ask(&none).await, Observed::Nothing);
        let there = stopped().says(".img", "yes\n");
        assert_eq!(ask(&there).await, Observed::Stopped);
        let broken = stopped().answers(".img", 3, "");
        assert!(matches!(ask(&broken).await, Observed::Unreachable(_)));
        let elsewhere = world(&[]);
        assert!(matches!(
            ask_of(&elsewhere, server, true).await,
            Observed::Unreachable(_)
        ));
    }

    #[tokio::test]
    async fn a_server_that_cannot_read_its_disk_is_not_empty() {
        let server = &plan().servers[0];
        for (status, text, empty) in [
            (0, "data=no\nmembers=\nend\n", true),
            (0, "data=no\n", false),
            (3, "data=no\nend\n", false),
        ] {
            let fake = Fake::new().answers("member/wal", status, text);
            let host = Fake::new().says(".img", "yes\n");
            let world = world(&[("n100", &host), ("k3s-cp-1", &fake)]);
            assert_eq!(
                ask_of(&world, server, true).await.is_empty(),
                empty,
                "{text}"
            );
        }
    }
}
