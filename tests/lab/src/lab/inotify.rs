//! The one sysctl that the lab touches: with the kernel's default of 128 inotify
//! instances the fourth or fifth machine hangs at boot without a word.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::place::RUNNING;
use crate::say;

const SYSCTL: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Six hosts with their VMs use about 400.
const ENOUGH: u32 = 1024;

fn before() -> PathBuf {
    Path::new(RUNNING).join("inotify.before")
}

/// Raises the limit while fleets are up.
pub(crate) fn raise() -> Result<()> {
    let now = read()?;
    if now >= ENOUGH {
        return Ok(());
    }
    say::line(format_args!(
        "· fs.inotify.max_user_instances: {now} → {ENOUGH} until the last fleet goes down (each machine needs about 15)"
    ));
    std::fs::create_dir_all(RUNNING)?;
    std::fs::write(before(), now.to_string())?;
    write(ENOUGH)
}

/// Puts the limit back, after the last fleet.
pub(crate) fn restore() -> Result<()> {
    let Ok(text) = std::fs::read_to_string(before()) else {
        return Ok(());
    };
    let value: u32 = text
        .trim()
        .parse()
        .context("the remembered inotify limit is no number")?;
    // Somebody else may have changed it meanwhile: theirs counts.
    if read()? == ENOUGH {
        write(value)?;
        say::line(format_args!(
            "· fs.inotify.max_user_instances: back to {value}"
        ));
    }
    std::fs::remove_file(before())?;
    Ok(())
}

fn read() -> Result<u32> {
    let text = std::fs::read_to_string(SYSCTL).with_context(|| format!("cannot read {SYSCTL}"))?;
    text.trim()
        .parse()
        .with_context(|| format!("{SYSCTL} holds no number"))
}

fn write(value: u32) -> Result<()> {
    std::fs::write(SYSCTL, value.to_string()).with_context(|| {
        format!("cannot set fs.inotify.max_user_instances: run `sudo sysctl fs.inotify.max_user_instances={value}`")
    })
}
