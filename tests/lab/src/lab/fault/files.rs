//! Faults that are a file which the Slicer stand-in or the Internet box reads at every use.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Fault, Undo};
use crate::cli::NameMode;
use crate::internet;
use crate::state::{Role, State, replace};

/// Writes the file; the fault lasts as long as it is there.
pub(super) fn write(
    path: &Path,
    content: &serde_json::Value,
    machine: &str,
    what: String,
) -> Result<Fault> {
    replace(path, content.to_string().as_bytes())?;
    let machine = machine.to_owned();
    Ok(Fault {
        what,
        machine,
        undo: vec![Undo::Remove(path.to_owned())],
    })
}

/// An Internet name that misbehaves.
pub(super) fn name(fleet: &State, name: &str, mode: NameMode) -> Result<Fault> {
    if !fleet
        .machines
        .iter()
        .any(|machine| machine.role == Role::Internet)
    {
        bail!("fleet {} was started without its Internet", fleet.name);
    }
    check(name)?;
    let path = internet::directory(fleet).join(format!("faults/name-{name}.json"));
    let content = serde_json::json!({ "mode": mode });
    write(
        &path,
        &content,
        "internet",
        format!("{name} is {}", word(&mode)),
    )
}

/// Names become file names.
pub(super) fn check(name: &str) -> Result<()> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0', '\n']) {
        bail!("`{}` is no name", name.escape_default());
    }
    Ok(())
}

/// A mode as the person typed it.
pub(super) fn word(mode: &impl clap::ValueEnum) -> String {
    mode.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
