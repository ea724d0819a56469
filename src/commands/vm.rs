//! A VM by its own or its Node's name, reached as steps reach it: through its host.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::Context;
use crate::cli::Global;
use crate::config::Config;
use crate::failure::{Code, Failure, Failures, Result};
use crate::names::k3s::AGENT_UNIT;
use crate::names::slicer::PROGRAM;
use crate::plan::{Daemon, Plan, Server};
use crate::question::limited;
use crate::remote::Script;
use crate::suggest;
use crate::world::World;

/// A VM of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vm {
    /// Has our key.
    Server(Server),
    /// Has none: its group's daemon, and its own name.
    Agent(Daemon, String),
}

impl Vm {
    /// The VM of this name, or of the Node of this name. An agent need not exist.
    pub(super) fn find(plan: &Plan, name: &str) -> Option<Self> {
        if let Some(server) = plan.servers.iter().find(|server| server.name == name) {
            return Some(Self::Server(server.clone()));
        }
        let agents = plan.workers().filter_map(|daemon| {
            let number = agent_number(name.strip_prefix(&daemon.group)?.strip_prefix('-')?)?;
            Some((daemon, format!("{}-{number}", daemon.group)))
        });
        agents
            .max_by_key(|(daemon, _)| daemon.group.len())
            .map(|(daemon, vm)| Self::Agent(daemon.clone(), vm))
    }

    /// The same, or who there is.
    pub(super) fn must(plan: &Plan, name: &str) -> Result<Self> {
        Self::find(plan, name).ok_or_else(|| unknown(plan, name, &[]))
    }

    /// The host it runs on.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Server(server) => &server.host,
            Self::Agent(daemon, _) => &daemon.host,
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Server(server) => &server.name,
            Self::Agent(_, name) => name,
        }
    }

    /// The unit that k3s runs as in it.
    pub(super) fn unit(&self) -> &'static str {
        match self {
            Self::Server(_) => "k3s",
            Self::Agent(..) => AGENT_UNIT,
        }
    }

    /// Runs a command as root in it on our terminal or pipes; its exit status.
    pub(super) async fn exec(&self, context: &Context, words: &[String]) -> Result<i32> {
        let status = self.exec_in(&context.world, words).await;
        self.explained(&context.world, status).await
    }

    /// Runs a script as root in it that reads nothing, on our stdout and stderr; its exit status. `follows` where it would
    /// go on for ever.
    pub(super) async fn tell(
        &self,
        context: &Context,
        script: &Script,
        follows: bool,
    ) -> Result<i32> {
        let status = self.tell_in(&context.world, script, follows).await;
        self.explained(&context.world, status).await
    }

    /// A shell in it, on our terminal where there is one; its exit status.
    pub(super) async fn shell(&self, context: &Context) -> Result<i32> {
        let status = self.shell_in(&context.world).await;
        self.explained(&context.world, status).await
    }

    async fn exec_in(&self, world: &World, words: &[String]) -> Result<i32> {
        match self {
            Self::Server(server) => {
                let script = Script::words(words.iter().map(String::as_str));
                let machine = world.server(server).await?;
                machine.attach(script.text(), terminal()).await
            }
            Self::Agent(daemon, name) => {
                let slicer = world.slicer(daemon).await?;
                slicer.attach(name, words).await
            }
        }
    }

    async fn tell_in(&self, world: &World, script: &Script, follows: bool) -> Result<i32> {
        match self {
            Self::Server(server) => {
                let machine = world.server(server).await?;
                machine.tell(script, follows).await
            }
            Self::Agent(daemon, name) => {
                let slicer = world.slicer(daemon).await?;
                let words = ["/bin/sh", "-c", script.text()].map(str::to_owned);
                slicer.tell(name, &words).await
            }
        }
    }

    async fn shell_in(&self, world: &World) -> Result<i32> {
        let login = ["/bin/bash".to_owned(), "--login".to_owned()];
        match self {
            Self::Server(server) => {
                let machine = world.server(server).await?;
                let script = "cd; exec /bin/bash --login";
                machine.attach(script, terminal()).await
            }
            Self::Agent(daemon, name) if terminal() => {
                // The API's own shell speaks a protocol that only Slicer's client on the host knows.
                let (address, port) = daemon.local_api();
                let url = format!("http://{address}:{port}");
                let words = shell_of(&url, name);
                let host = world.host(&daemon.host)?;
                host.attach(Script::words(words).text(), true).await
            }
            Self::Agent(..) => self.exec_in(world, &login).await,
        }
    }

    /// The same status; a failure that its daemon can explain, by a VM that does not run or is not there, is explained.
    async fn explained(&self, world: &World, status: Result<i32>) -> Result<i32> {
        let Err(failure) = &status else { return status };
        let may_be_the_vm = matches!(
            failure.code,
            Code::Vm | Code::SlicerApi | Code::SshUnreachable | Code::SshLost | Code::Route
        );
        if !may_be_the_vm {
            return status;
        }
        let asked = limited(ANSWER, self.fate(world)).await;
        match asked {
            Ok(Ok(Some(fate))) => Err(self.dead(fate).because(failure.to_string())),
            _ => status,
        }
    }

    /// What keeps it from answering, as its daemon sees it; `None` where it runs.
    async fn fate(&self, world: &World) -> Result<Option<&'static str>> {
        let group = match self {
            Self::Server(server) => &server.group,
            Self::Agent(daemon, _) => &daemon.group,
        };
        let Some(daemon) = world.plan.daemon(group) else {
            return Ok(None);
        };
        let vms = world.slicer(daemon).await?.vms(group).await?;
        let vm = vms.iter().find(|vm| vm.hostname == self.name());
        Ok(match vm {
            None => Some("does not exist"),
            Some(vm) if !vm.runs() => Some("is not running"),
            Some(_) => None,
        })
    }

    fn dead(&self, fate: &str) -> Failure {
        let what = format!("VM {} on {} {fate}", self.name(), self.host());
        Failure::new(Code::Vm, what).hint(match self {
            Self::Server(_) => "slicer-k3s init starts it".to_owned(),
            Self::Agent(..) => "slicer-k3s status lists the agents that there are; the autoscaler replaces one that is gone".to_owned(),
        })
    }
}

/// How long a daemon may take to say whether a VM runs.
const ANSWER: Duration = Duration::from_secs(5);

/// Connects to the one host that a VM runs on.
pub(super) async fn reach(
    global: &Global,
    config: Config,
    name: &str,
) -> Result<(Context, Vm), Failures> {
    let mut found = None;
    let (context, absent) = Context::of_hosts(global, config, |plan| {
        let vm = Vm::must(plan, name)?;
        Ok(vec![found.insert(vm).host().to_owned()])
    })
    .await?;
    match found {
        Some(vm) if absent.is_empty() => Ok((context, vm)),
        Some(_) => Err(absent),
        None => Err(unknown(&context.world.plan, name, &[]).into()),
    }
}

/// What a slip of the pen is answered with; `more` are names that this command knows besides VMs.
pub(super) fn unknown(plan: &Plan, name: &str, more: &[&str]) -> Failure {
    let groups = plan.workers().map(|daemon| format!("{}-1", daemon.group));
    let servers = plan.servers.iter().map(|server| server.name.clone());
    let known: Vec<String> = servers
        .chain(groups)
        .chain(more.iter().map(|name| (*name).to_owned()))
        .collect();
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let failure = Failure::new(Code::Config, format!("no VM or Node is called {name}"));
    let mut hint = match suggest::nearest(name, &names) {
        Some(near) => format!("did you mean {near}? slicer-k3s status lists VMs and Nodes"),
        None => "slicer-k3s status lists VMs and Nodes".to_owned(),
    };
    if !more.is_empty() {
        hint = format!("{hint}; other names: {}", more.join(", "));
    }
    failure.hint(hint)
}

/// `1` of `1` (a VM) and of `1-149257af` (its Node, as k3s names it).
fn agent_number(rest: &str) -> Option<&str> {
    let (number, id) = match rest.split_once('-') {
        Some((number, id)) => (number, Some(id)),
        None => (rest, None),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let node = id.is_none_or(|id| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (digits && node).then_some(number)
}

/// The words of a shell in an agent. The program by its path: sudo of RHEL's family has no `/usr/local/bin` on its own.
fn shell_of<'w>(url: &'w str, name: &'w str) -> [&'w str; 8] {
    [PROGRAM, "vm", "shell", "--url", url, "--uid", "0", name]
}

fn terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plan, world};

    /// A VM that was off was reported as an API that "did not do it", with the journal of its daemon to read.
    #[tokio::test]
    async fn a_vm_that_does_not_run_is_reported_as_that() {
        let refused = || {
            let why = "400: the agent of k3s-cp-2 does not answer";
            Err(Failure::new(Code::SlicerApi, "Slicer's API did not do it").because(why))
        };
        let plan = plan();
        for (name, vms, what) in [
            (
                "k3s-cp-2",
                r#"[{"hostname":"k3s-cp-2","status":"Stopped"}]"#,
                Some(("VM k3s-cp-2 on n100 is not running", "slicer-k3s init")),
            ),
            (
                "k3s-agents-1-7",
                "[]",
                Some((
                    "VM k3s-agents-1-7 on ryzen does not exist",
                    "slicer-k3s status",
                )),
            ),
            (
                "k3s-cp-2",
                r#"[{"hostname":"k3s-cp-2","status":"Running"}]"#,
                None,
            ),
        ] {
            let fake = Fake::new()
                .says("auth/token", "t\n")
                .says("GET /hostgroup", vms);
            let world = world(&[("n100", &fake), ("ryzen", &fake)]);
            let vm = Vm::find(&plan, name).unwrap();
            let failure = vm.explained(&world, refused()).await.unwrap_err();
            match what {
                Some((what, hint)) => {
                    assert_eq!((failure.code, &*failure.what), (Code::Vm, what));
                    assert!(failure.cause.unwrap().contains("does not answer"));
                    assert!(failure.hint.unwrap().starts_with(hint));
                }
                None => assert_eq!(failure.code, Code::SlicerApi),
            }
        }
        let world = world(&[]);
        let vm = Vm::find(&plan, "k3s-cp-2").unwrap();
        let failure = vm.explained(&world, refused()).await.unwrap_err();
        assert_eq!(failure.code, Code::SlicerApi, "where no daemon answers");
        assert_eq!(vm.explained(&world, Ok(7)).await, Ok(7));
    }

    #[test]
    fn a_vm_is_found_by_its_own_and_by_its_nodes_name() {
        let plan = plan();
        for (name, found) in [
            ("k3s-cp-2", Some(("k3s-cp-2", "n100"))),
            ("k3s-agents-1-7", Some(("k3s-agents-1-7", "ryzen"))),
            ("k3s-agents-1-7-149257af", Some(("k3s-agents-1-7", "ryzen"))),
            ("k3s-agents-2-1", Some(("k3s-agents-2-1", "n100"))),
            ("k3s-agents-1", None),
            ("k3s-agents-1-x", None),
            ("k3s-agents-1-7-xyz", None),
            ("k3s-cp-9", None),
            ("ryzen", None),
        ] {
            let vm = Vm::find(&plan, name);
            let seen = vm.as_ref().map(|vm| (vm.name(), vm.host()));
            assert_eq!(seen, found, "{name}");
        }
    }

    /// With the bare name sudo on Rocky, Alma and Fedora finds nothing.
    #[test]
    fn slicer_is_named_by_its_path() {
        let [program, ..] = shell_of("http://127.0.0.1:8081", "k3s-agents-1-7");
        assert!(program.starts_with('/'), "{program}");
    }

    #[test]
    fn a_slip_of_the_pen_is_answered_with_the_nearest_name() {
        let failure = Vm::must(&plan(), "k3s-pc-1").unwrap_err();
        assert_eq!(failure.code.exit_code(), 2);
        assert!(failure.hint.unwrap().contains("did you mean k3s-cp-1?"));
    }
}
