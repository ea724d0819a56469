//! What keeps k3s's password file from stopping a start: a drop-in of its unit, and data that are right without it.

use anyhow::{Context as _, Result, bail};

use super::super::UNPROVEN;
use super::super::home::Home;
use super::super::restarts;

/// The drop-in.
const PATH: &str = "/etc/systemd/system/k3s.service.d/slicer-k3s-password-file.conf";

/// Prints when k3s was started last.
const STARTED: &str = "systemctl show -p ExecMainStartTimestampMonotonic -p MainPID k3s";

/// Every server has it, and its systemd has read it.
pub(super) fn everywhere(home: &Home) -> Result<()> {
    let there = format!(
        "ls {PATH} && systemctl show -p DropInPaths k3s | grep -qF {PATH} && systemctl show -p NeedDaemonReload k3s | grep -q =no"
    );
    for server in home.servers {
        home.trial
            .root(server, &there)?
            .expect(0)
            .with_context(|| format!("{server} does not have {PATH}"))?;
    }
    Ok(())
}

/// k3s on this server starts without it, too, for its data are right; `init` puts it back, and restarts nothing for that.
pub(super) fn not_needed(home: &Home, server: &str) -> Result<()> {
    home.trial
        .root(server, &format!("rm {PATH} && systemctl daemon-reload"))?
        .expect(0)?;
    restarts::one_server(&home.trial, server)
        .with_context(|| format!("{server} without its drop-in"))?;
    let before = started(home)?;
    let done = home.trial.me(UNPROVEN)?.expect(0)?;
    everywhere(home)?;
    if started(home)? != before {
        bail!("a server was restarted for its drop-in:\n{}", done.text());
    }
    home.stands()
}

fn started(home: &Home) -> Result<String> {
    let mut all = String::new();
    for server in home.servers {
        all += &home.trial.root(server, STARTED)?.expect(0)?.stdout;
    }
    Ok(all)
}
