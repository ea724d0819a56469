//! What a person wants to know when `init` is done: what exists, where the files are, what to type next.

use super::act;
use super::context::Home;
use crate::pipeline::Ended;
use crate::plan::Plan;

/// The last words of a good run.
pub(super) fn after_init(plan: &Plan, home: &Home, ended: &[Ended]) -> String {
    if !act::changed(ended) {
        return format!(
            "Nothing to change: {} is as cluster.toml says.",
            plan.cluster
        );
    }
    let groups: Vec<String> = plan
        .workers()
        .map(|daemon| {
            format!(
                "{} on {} (0 to {} VMs)",
                daemon.group, daemon.host, daemon.max
            )
        })
        .collect();
    let servers: Vec<String> = plan
        .servers
        .iter()
        .map(|server| format!("{} {}", server.name, server.address))
        .collect();
    let routes: Vec<String> = plan
        .daemons
        .iter()
        .filter(|daemon| {
            plan.servers
                .iter()
                .any(|server| server.group == daemon.group)
        })
        .filter_map(|daemon| {
            let via = plan.via(None, &daemon.host)?;
            Some(format!("sudo ip route replace {} via {via}", daemon.cidr))
        })
        .collect();
    // Where `--workstation-route` was asked for, that is done.
    let installed = ended.iter().any(|step| step.id.name == "workstation-route");
    let route = if installed {
        String::new()
    } else {
        format!("  {}    for your own kubectl\n", routes.join("; "))
    };
    let (workers, prove) = if groups.is_empty() {
        (String::new(), "")
    } else {
        (
            format!("  workers     {}\n", groups.join(", ")),
            "  slicer-k3s prove                         watch it scale again\n",
        )
    };
    format!(
        "\n{cluster} is up.\n\
         \x20 servers     {servers}\n\
{workers}\
         \x20 k3s         {version}\n\
         \x20 kubeconfig  {kubeconfig}\n\
         \x20 state       {state} (keep a copy: it holds the join tokens)\n\
         Next:\n\
         \x20 slicer-k3s kubectl get nodes             no route and no kubectl needed\n\
{route}\
{prove}\
         \x20 another host: add it to cluster.toml and run slicer-k3s init again",
        cluster = plan.cluster,
        servers = servers.join(", "),
        version = plan.k3s.version,
        kubeconfig = home.kubeconfig().display(),
        state = home.state_file().display(),
    )
}
