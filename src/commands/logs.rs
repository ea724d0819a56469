//! `slicer-k3s logs NAME`: of a VM's services or its console, of a group's daemon, of the autoscaler.

mod part;

use serde_json::Value;

use super::context::{self, Context, StateDir};
use super::vm::{self, Vm};
use super::{one_host, passed_on};
use crate::cli::{Global, Logs};
use crate::config::Config;
use crate::escape::escape;
use crate::failure::{Code, Failure, Failures, Result};
use crate::kubernetes::selector;
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE};
use crate::names::slicer::console_log;
use crate::plan::{Daemon, Plan};
use crate::remote::Script;
use crate::report;
use part::{NOTHING, Part};

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
pub(super) async fn run(global: &Global, options: &Logs) -> Result<u8, Failures> {
    let Some(settings) = passed_on::settings(global) else {
        return Ok(passed_on::OURS);
    };
    let code = match reach(global, settings.config.clone(), options).await {
        Ok((context, whose)) => {
            let shown = passed_on::until_stopped(shown(&context, whose, options));
            // `| grep -m1 …` has seen what it waited for: the log's next line may be hours away.
            tokio::select! {
                code = shown => code,
                () = report::reader_gone(), if options.follow => SIGPIPE,
            }
        }
        Err(failures) => passed_on::or_ours(Err(failures)),
    };
    Ok(if settings.name_mistakes() {
        Code::Config.exit_code()
    } else {
        code
    })
}

/// Connects to whoever has the log.
async fn reach(
    global: &Global,
    config: Config,
    options: &Logs,
) -> Result<(Context, Whose), Failures> {
    let home = StateDir::of(&config.name)?;
    let (_, plan) = context::known(&home, &config.name)?;
    let whose = find(&plan, options)?;
    // What the kubelet has moved aside lies on one server, wherever that is; for the rest any server will do.
    if whose == Whose::Autoscaler && Part::of(options).lines.is_some() {
        let context = one_host::of_control_plane(global, config).await?;
        return Ok((context, whose));
    }
    let hosts = match &whose {
        Whose::Vm(vm) => vec![vm.host().to_owned()],
        Whose::Daemon(daemon) => vec![daemon.host.clone()],
        Whose::Autoscaler => plan.servers.iter().map(|it| it.host.clone()).collect(),
    };
    let (context, absent) = Context::of_hosts(global, config, |_| Ok(hosts)).await?;
    if whose != Whose::Autoscaler && !absent.is_empty() {
        return Err(absent);
    }
    Ok((context, whose))
}

async fn shown(context: &Context, whose: Whose, options: &Logs) -> Result<i32> {
    let part = Part::of(options);
    let status = match whose {
        Whose::Vm(vm) if options.console => {
            // Where Slicer keeps it, so that the last words of a VM that is gone can still be had.
            let file = console_log(vm.name());
            on_host(context, vm.host(), part, &part.console(&file)).await
        }
        Whose::Vm(vm) => {
            let unit = options.unit.as_deref().unwrap_or(vm.unit());
            vm.tell(context, &part.journal(unit), part.follow).await
        }
        Whose::Daemon(daemon) => {
            let script = part.journal(&daemon.unit());
            on_host(context, &daemon.host, part, &script).await
        }
        Whose::Autoscaler => autoscaler(context, part).await,
    };
    status.map(|status| told(status, part))
}

async fn on_host(context: &Context, host: &str, part: Part<'_>, script: &Script) -> Result<i32> {
    let machine = context.world.host(host)?;
    machine.tell(script, part.follow).await
}

/// The exit status; that a search found nothing is said, and is 1 as grep's.
fn told(status: i32, part: Part<'_>) -> i32 {
    let (NOTHING, Some(text)) = (status, part.grep) else {
        return status;
    };
    report::say(&format!("no line contains {}", escape(text)));
    1
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

/// What kubectl shows of it, after what the kubelet has moved aside where all of it is asked for.
async fn autoscaler(context: &Context, part: Part<'_>) -> Result<i32> {
    let machine = context.world.first_server().await?;
    let mut before = NOTHING;
    if part.lines.is_none() {
        match rotated(context, part).await {
            Ok(status) => before = status,
            Err(failure) => report::say(&format!(
                "note: what the kubelet has moved aside of this log is missing here: {}",
                escape(&failure.to_string())
            )),
        }
    }
    let workload = format!("deployment/{AUTOSCALER}");
    let script = part.pod(NAMESPACE, &workload);
    let status = machine.tell(&script, part.follow).await?;
    Ok(if status == NOTHING { before } else { status })
}

/// Shows what the kubelet has moved aside of the log of the autoscaler's container; [`NOTHING`] where it did not.
async fn rotated(context: &Context, part: Part<'_>) -> Result<i32> {
    let kubernetes = context.world.kubernetes().await?;
    let deployment = ["deployment", "-n", NAMESPACE, AUTOSCALER];
    let Some(deployment) = kubernetes.get(&deployment).await? else {
        return Ok(NOTHING);
    };
    let selector = selector(&deployment);
    let pods = kubernetes
        .list(&["pods", "-n", NAMESPACE, "-l", &selector])
        .await?;
    let Some(place) = pods.iter().find_map(Place::of) else {
        return Ok(NOTHING);
    };
    let server = context.world.plan.servers.iter();
    let server = server.clone().find(|server| server.name == place.node);
    let server = server.ok_or_else(|| {
        Failure::new(
            Code::Autoscaler,
            format!("its pod runs on {}, which is no server", place.node),
        )
    })?;
    let machine = context.world.server(server).await?;
    let script = part.rotated(&place.directory, place.restarts);
    match machine.tell(&script, false).await? {
        status @ (0 | NOTHING) => Ok(status),
        status => Err(Failure::new(
            Code::Command,
            format!("exit status {status} on {}", place.node),
        )),
    }
}

/// Where the kubelet keeps the log of a container that runs.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    node: String,
    directory: String,
    restarts: u64,
}

impl Place {
    /// Of a pod's first container.
    ///
    /// Source: Kubernetes, pkg/kubelet/kuberuntime/helpers.go `BuildContainerLogsDirectory`.
    fn of(pod: &Value) -> Option<Self> {
        let text = |key: &str| pod["metadata"][key].as_str();
        let container = &pod["status"]["containerStatuses"][0];
        container["state"].get("running")?;
        Some(Self {
            node: pod["spec"]["nodeName"].as_str()?.to_owned(),
            directory: format!(
                "/var/log/pods/{}_{}_{}/{}",
                text("namespace")?,
                text("name")?,
                text("uid")?,
                container["name"].as_str()?
            ),
            restarts: container["restartCount"].as_u64().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    fn logs(name: &str) -> Logs {
        Logs {
            name: name.into(),
            unit: None,
            console: false,
            follow: false,
            lines: None,
            since: None,
            grep: None,
        }
    }

    #[test]
    fn the_kubelets_files_of_a_pod_that_runs_are_found() {
        let mut pod = serde_json::json!({
            "metadata": {"namespace": "kube-system", "name": "a-1", "uid": "u"},
            "spec": {"nodeName": "k3s-cp-2"},
            "status": {"containerStatuses": [{"name": "c", "restartCount": 2, "state": {"running": {}}}]},
        });
        let place = Place {
            node: "k3s-cp-2".into(),
            directory: "/var/log/pods/kube-system_a-1_u/c".into(),
            restarts: 2,
        };
        assert_eq!(Place::of(&pod), Some(place));
        pod["status"]["containerStatuses"][0]["state"] = serde_json::json!({"waiting": {}});
        assert_eq!(Place::of(&pod), None);
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
        let hint = found("nosuch").unwrap_err().hint.unwrap();
        for name in ["k3s-cp", "k3s-agents-1", "autoscaler"] {
            assert!(hint.contains(name), "{hint}");
        }
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
