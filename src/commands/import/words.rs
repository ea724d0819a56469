//! What `import` tells a person: before it writes, and when it is done.

use std::fmt::Write as _;
use std::path::Path;

use crate::commands::context::StateDir;
use crate::escape::escape;
use crate::import::ClusterFile;
use crate::plan::Plan;

/// What is written, without what may be a password, and what changes on the machines.
pub(super) fn show(
    path: &Path,
    file: Option<&ClusterFile>,
    home: &StateDir,
    plan: &Plan,
) -> String {
    let path = escape(&path.display().to_string());
    let mut text = String::new();
    if let Some(file) = file {
        let _ = writeln!(text, "{path} is written:\n");
        for line in file.shown.lines() {
            let _ = writeln!(text, "    {}", escape(line));
        }
        if file.private {
            text.push_str(
                "\nIt may hold passwords: it is readable by you alone, and nothing for a repository.\n",
            );
        }
        text.push('\n');
    }
    let servers: Vec<&str> = plan.servers_here().map(|server| &*server.name).collect();
    let _ = write!(
        text,
        "Tokens and decisions are written to {}.\n\
         {} let a new SSH key of the cluster's in; nothing restarts.",
        home.state_file().display(),
        servers.join(", ")
    );
    text
}

/// What was taken over, and what comes next.
pub(super) fn last(plan: &Plan, home: &StateDir, adopted: bool) -> String {
    let known = if adopted {
        "adopted"
    } else {
        "known here again"
    };
    let init = if adopted {
        "what init would do to make it its own\n\
         \x20 slicer-k3s init                  do it: one server restarts after the other, VMs run on\n\
         Nothing was changed yet but that the servers let the cluster's key in."
    } else {
        "what differs from cluster.toml, if anything"
    };
    let hosts: Vec<&str> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
    format!(
        "\n{} is {known}: {} servers, {} groups of workers on {}\n\
         \x20 tokens and decisions: {}\n\
         Next:\n\
         \x20 slicer-k3s status                what is there\n\
         \x20 slicer-k3s init --dry-run        {init}",
        plan.cluster,
        plan.servers.len(),
        plan.workers().count(),
        hosts.join(", "),
        home.state_file().display(),
    )
}
