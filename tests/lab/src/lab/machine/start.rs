//! Starting one machine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::namespace;
use crate::cache::parts::Parts;
use crate::cgroup;
use crate::state::{Machine, Role, State, replace};

/// A machine boots in 2 s; one under several full builds took 20.
const PATIENCE: Duration = Duration::from_mins(2);
const BOOT: &str = include_str!("boot.sh");

/// Makes the directories that the machine's file system consists of; the overlay's upper layer is the answer.
pub(crate) fn directories(fleet: &State, machine: &Machine) -> Result<std::path::PathBuf> {
    let own = fleet.machine_directory(&machine.name);
    for directory in ["upper", "work", "root", "data", "faults"] {
        std::fs::create_dir_all(own.join(directory))?;
    }
    Ok(own.join("upper"))
}

/// Boots a machine whose files and network are there; the process that carries it is the answer.
pub(crate) fn boot(fleet: &State, machine: &Machine, parts: &Parts, setup: &str) -> Result<Child> {
    let root = &parts.root;
    let own = fleet.machine_directory(&machine.name);
    replace(&own.join("setup.sh"), setup.as_bytes())?;
    let script = own.join("boot.sh");
    replace(&script, BOOT.as_bytes())?;
    cgroup::make(&fleet.name, &machine.name)?;

    let console = std::fs::File::create(own.join("console.log"))?;
    // Its own session: the terminal's Ctrl-C is not for machines. Its own mount
    // namespace: what it mounts goes with it, while namespaces that others remove
    // meanwhile are not kept alive by a copy of their mounts.
    let mut command = Command::new("setsid");
    command.args(["unshare", "--mount", "--propagation", "slave", "/bin/sh"]);
    command.arg(&script).arg(&machine.name).arg(&own).arg(root);
    command.arg(cgroup::path(&fleet.name, &machine.name));
    command.arg(format!(
        "--network-namespace-path={}",
        namespace(fleet, machine).display()
    ));
    if machine.role == Role::Workstation
        && let Some(go) = &parts.programs.go
    {
        command.arg(format!("--bind-ro={}:/lab/go", go.display()));
    }
    if machine.role == Role::Host {
        command.arg(format!("--bind-ro={}:/lab/root", root.display()));
        command.arg(format!("--bind={}:/lab/data", own.join("data").display()));
        command.arg(format!(
            "--bind={}:/lab/faults",
            own.join("faults").display()
        ));
        if Path::new("/dev/kvm").exists() {
            command.arg("--bind=/dev/kvm");
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
        .with_context(|| format!("cannot start {}", machine.name))
}

/// Waits until what was started answers; its console's last words if it does not.
pub(crate) fn wait(
    child: &mut Child,
    name: &str,
    console: &Path,
    mut answers: impl FnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let Err(error) = answers() else { return Ok(()) };
        let ended = child.try_wait()?;
        if ended.is_some() || start.elapsed() > PATIENCE {
            let why = match ended {
                Some(status) => format!("{name} ended at once ({status})"),
                None => format!("{name} does not answer after {} s", PATIENCE.as_secs()),
            };
            return Err(error.context(format!("{why}; its console: {}", tail(console))));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(1000)..])
        .escape_debug()
        .to_string()
}
