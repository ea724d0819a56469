//! What a group's VMs said on their serial consoles: Slicer keeps `/var/log/slicer/VM.txt` whatever becomes of the VM.

use crate::deletion;
use crate::failure::Result;
use crate::pipeline::WritePermit;
use crate::remote::{Machine, Probe, Script};

/// How many are removed by one command: its line has a bound.
const AT_ONCE: usize = 500;

/// Whether a VM of the group has left one.
pub(crate) async fn left(host: &Machine, group: &str) -> Result<bool> {
    Ok(host
        .probe(&Probe::ConsoleLogs(group.to_owned()))
        .await?
        .ok())
}

/// Removes them.
pub(crate) async fn remove(host: &Machine, permit: &WritePermit, group: &str) -> Result<()> {
    let found = host.probe(&Probe::ConsoleLogs(group.to_owned())).await?;
    let logs = deletion::consoles(group, &found.stdout);
    if !found.ok() {
        return Ok(());
    }
    for logs in logs.chunks(AT_ONCE) {
        let words = ["rm", "-f", "--"].into_iter().chain(logs.iter().copied());
        let what = "removing the VMs' console logs";
        host.must(permit, what, &Script::words(words)).await?;
    }
    Ok(())
}
