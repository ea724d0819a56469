//! `slicer-k3s logs NAME`: of a VM's services or its console, of a group's daemon, of the autoscaler.

use super::vm::{self, Vm};
use super::{Context, one, passed_on};
use crate::cli::{Global, Logs};
use crate::failure::{Code, Failure, Result};
use crate::generate::{AUTOSCALER, NAMESPACE};
use crate::plan::{Daemon, Plan};
use crate::remote::Script;
use crate::report;

/// Exit code of a process that wrote to a pipe nobody reads.
const SIGPIPE: u8 = 128 + 13;

/// The name that stands for the autoscaler.
const THE_AUTOSCALER: &str = "autoscaler";

/// Whose logs.
#[derive(Debug, PartialEq, Eq)]
enum Whose {
    Vm(Vm),
    Daemon(Daemon),
    Autoscaler,
}

/// Runs it.
pub(super) async fn run(global: &Global, options: &Logs) -> Result<u8, Vec<Failure>> {
    let shown = passed_on::until_stopped(shown(global, options));
    // `| grep -m1 …` has seen what it waited for: the log's next line may be hours away.
    Ok(tokio::select! {
        code = shown => code,
        () = report::reader_gone(), if options.follow => SIGPIPE,
    })
}

async fn shown(global: &Global, options: &Logs) -> Result<i32, Vec<Failure>> {
    let mut whose = Whose::Autoscaler;
    let (context, absent) = Context::of_hosts(global, |plan| {
        whose = find(plan, options)?;
        Ok(match &whose {
            Whose::Vm(vm) => vec![vm.host().to_owned()],
            Whose::Daemon(daemon) => vec![daemon.host.clone()],
            Whose::Autoscaler => plan.servers.iter().map(|it| it.host.clone()).collect(),
        })
    })
    .await?;
    let alone = whose != Whose::Autoscaler;
    if alone && !absent.is_empty() {
        return Err(absent);
    }
    match whose {
        Whose::Vm(vm) if options.console => console(&context, &vm, options).await,
        Whose::Vm(vm) => {
            let unit = options.unit.as_deref().unwrap_or(vm.unit());
            let words = journal(unit, options);
            vm.tell(&context, &words, options.follow).await
        }
        Whose::Daemon(daemon) => of_daemon(&context, &daemon, options).await,
        Whose::Autoscaler => autoscaler(&context, options).await,
    }
    .map_err(one)
}

fn find(plan: &Plan, options: &Logs) -> Result<Whose> {
    let name = &options.name;
    if let Some(vm) = Vm::find(plan, name) {
        return Ok(Whose::Vm(vm));
    }
    let whose = match plan.daemon(name) {
        Some(daemon) => Whose::Daemon(daemon.clone()),
        None if name == THE_AUTOSCALER => Whose::Autoscaler,
        None => {
            let groups = plan.daemons.iter().map(|daemon| daemon.group.as_str());
            let more: Vec<&str> = groups.chain([THE_AUTOSCALER]).collect();
            return Err(vm::unknown(plan, name, &more));
        }
    };
    if options.console || options.unit.is_some() {
        let failure = Failure::new(Code::Config, format!("{name} is no VM"));
        return Err(failure.hint("--unit and --console are a VM's; leave them out"));
    }
    Ok(whose)
}

fn journal(unit: &str, options: &Logs) -> Vec<String> {
    let lines = options.lines.to_string();
    let words = ["journalctl", "--no-pager", "-u", unit, "-n", &lines];
    let follow = options.follow.then_some("-f");
    words.into_iter().chain(follow).map(str::to_owned).collect()
}

async fn of_daemon(context: &Context, daemon: &Daemon, options: &Logs) -> Result<i32> {
    let words = journal(&daemon.unit(), options);
    let script = Script::words(words.iter().map(String::as_str));
    let machine = context.world.host(&daemon.host)?;
    machine.tell(&script, options.follow).await
}

/// What a VM prints there is anybody's text: nothing that a terminal would obey comes through. It is read where Slicer
/// keeps it, so that the last words of a VM that is gone can still be had.
async fn console(context: &Context, vm: &Vm, options: &Logs) -> Result<i32> {
    let file = format!("/var/log/slicer/{}.txt", vm.name());
    let lines = options.lines.to_string();
    let follow = if options.follow { "-F" } else { "-q" };
    let script = Script::new(
        "f={}; [ -e \"$f\" ] || { echo \"$f does not exist on $(hostname)\" >&2; exit 1; }
tail {} -n {} -- \"$f\" | LC_ALL=C.UTF-8 sed -u 's/\\x1b\\[[0-9;?]*[A-Za-z]//g; s/[^[:print:]\\t]//g'",
        &[&file, follow, &lines],
    );
    let machine = context.world.host(vm.host())?;
    machine.tell(&script, options.follow).await
}

async fn autoscaler(context: &Context, options: &Logs) -> Result<i32> {
    let workload = format!("deployment/{AUTOSCALER}");
    let lines = format!("--tail={}", options.lines);
    let words = ["k3s", "kubectl", "logs", "-n", NAMESPACE, &workload, &lines];
    let follow = options.follow.then_some("-f");
    let script = Script::words(words.into_iter().chain(follow));
    let machine = context.world.first_server().await?;
    machine.tell(&script, options.follow).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::plan;

    fn logs(name: &str) -> Logs {
        Logs {
            name: name.into(),
            unit: None,
            console: false,
            follow: false,
            lines: 10,
        }
    }

    #[test]
    fn a_name_is_a_vm_a_group_or_the_autoscaler() {
        let plan = plan();
        let found = |name| find(&plan, &logs(name));
        assert!(matches!(found("k3s-cp-1"), Ok(Whose::Vm(_))));
        assert!(matches!(found("k3s-agents-1-3-149257af"), Ok(Whose::Vm(_))));
        assert!(matches!(found("k3s-cp"), Ok(Whose::Daemon(_))));
        assert!(matches!(found("autoscaler"), Ok(Whose::Autoscaler)));
        let hint = found("autoscalar").unwrap_err().hint.unwrap();
        assert!(hint.contains("did you mean autoscaler?"), "{hint}");
    }

    #[test]
    fn only_a_vm_has_units_and_a_console() {
        let options = Logs {
            console: true,
            ..logs("autoscaler")
        };
        assert_eq!(find(&plan(), &options).unwrap_err().code, Code::Config);
    }
}
