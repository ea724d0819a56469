//! Faults of Slicer: its API, its VMs' boots, its token, its daemons.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::files::{check, word, write};
use super::{Fault, Undo, must_be_host, on};
use crate::cli::{ApiMode, BootMode, TokenMode};
use crate::state::State;

const TOKEN: &str = "/var/lib/slicer/auth/token";
/// The units of daemons, whoever wrote them and whatever they are called.
const RESTART: &str = r#"
units=$(grep -lE '^ExecStart=.*slicer( .*)? up' /etc/systemd/system/*.service | xargs -r -n1 basename)
[ -n "$units" ] || { echo 'no unit on this machine starts a Slicer daemon' >&2; exit 1; }
systemctl restart $units"#;

/// A daemon's API that misbehaves.
pub(super) fn api(
    fleet: &State,
    machine: &str,
    group: &str,
    mode: ApiMode,
    ms: u64,
) -> Result<Fault> {
    let what = format!("API of group {group}: {}", word(&mode));
    file(
        fleet,
        machine,
        "slicer-api",
        group,
        &json!({ "mode": mode, "ms": ms }),
        what,
    )
}

/// A VM that does not come up.
pub(super) fn vm_boot(fleet: &State, machine: &str, vm: &str, mode: BootMode) -> Result<Fault> {
    let what = format!("boots of VM {vm}: {}", word(&mode));
    file(
        fleet,
        machine,
        "vm-boot",
        vm,
        &json!({ "mode": mode }),
        what,
    )
}

/// A VM whose userdata fails.
pub(super) fn userdata(fleet: &State, machine: &str, vm: &str) -> Result<Fault> {
    let what = format!("userdata of VM {vm} fails");
    file(
        fleet,
        machine,
        "userdata",
        vm,
        &json!({ "mode": "fail" }),
        what,
    )
}

fn file(
    fleet: &State,
    machine: &str,
    kind: &str,
    whom: &str,
    content: &serde_json::Value,
    what: String,
) -> Result<Fault> {
    must_be_host(fleet, machine)?;
    check(whom)?;
    let directory = fleet.machine_directory(machine).join("faults");
    write(
        &directory.join(format!("{kind}-{whom}.json")),
        content,
        machine,
        what,
    )
}

/// The token file and the daemons disagree, or agree on a new one.
pub(super) fn token(fleet: &State, machine: &str, mode: TokenMode) -> Result<Option<Fault>> {
    must_be_host(fleet, machine)?;
    let replace = |suffix: &str| {
        format!(
            "set -e; cp -p {TOKEN} {TOKEN}.lab{suffix}; \
             head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \\n' >{TOKEN}"
        )
    };
    match mode {
        TokenMode::Wrong => {
            on(fleet, machine, &["sh", "-c", &replace(".before")])
                .context("there is no token to replace")?;
            let back = format!("mv {TOKEN}.lab.before {TOKEN}");
            let undo = vec![Undo::Run(vec!["sh".to_owned(), "-c".to_owned(), back])];
            let what = "the token file holds another token than the daemons".to_owned();
            Ok(Some(Fault {
                what,
                machine: machine.to_owned(),
                undo,
            }))
        }
        TokenMode::Rotated => {
            let script = format!("{}; rm {TOKEN}.lab{}", replace(""), "");
            on(fleet, machine, &["sh", "-c", &script]).context("there is no token to rotate")?;
            restart(fleet, machine)?;
            Ok(None)
        }
    }
}

/// Restarts every Slicer daemon of a host.
pub(super) fn restart(fleet: &State, machine: &str) -> Result<()> {
    must_be_host(fleet, machine)?;
    on(fleet, machine, &["sh", "-c", RESTART]).map(drop)
}
