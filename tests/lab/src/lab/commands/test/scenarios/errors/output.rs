//! What a run looks like: on terminals narrow and wide, without colour, and as a stream for programs.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::super::trial::Trial;

const DRY: &str = "slicer-k3s init --dry-run --accept-new-host-keys";

/// Runs it on a fleet with a good cluster.toml and no cluster; what a terminal showed is returned for people.
pub(super) fn run(trial: &Trial) -> Result<String> {
    let mut shown = String::new();
    for columns in [40, 80, 200] {
        let text = on_terminal(trial, columns, "")?;
        let bare = plain(&text);
        if !text.contains("\u{1b}[33m") {
            bail!("no colour on a terminal of {columns} columns");
        }
        if !bare.contains("would change in ") {
            bail!("no last line on a terminal of {columns} columns:\n{bare}");
        }
        let _ = writeln!(shown, "## a terminal of {columns} columns\n{bare}");
    }
    let colourless = on_terminal(trial, 80, "NO_COLOR=1 ")?;
    // Not what moves the cursor: that ends in another letter.
    let colour = (0..8).find(|n| colourless.contains(&format!("\u{1b}[3{n}m")));
    if let Some(colour) = colour {
        bail!("colour {colour} in spite of NO_COLOR");
    }
    stream(trial)?;
    Ok(shown)
}

fn on_terminal(trial: &Trial, columns: u32, variables: &str) -> Result<String> {
    let command =
        format!("script -qec 'stty cols {columns} rows 40; {variables}{DRY}' /dev/null </dev/null");
    Ok(trial.me(&command)?.expect(3)?.stdout)
}

/// Without what moves the cursor and colours.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                let _ = rest.find(char::is_ascii_alphabetic);
            }
            '\r' => {}
            c => plain.push(c),
        }
    }
    plain
}

/// A document a line, the first with the contract's version; a refusal is one, too.
fn stream(trial: &Trial) -> Result<()> {
    let done = trial
        .me(&format!("{DRY} --output ndjson 2>/dev/null"))?
        .expect(3)?;
    let events = done
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()
        .context("a line of the event stream")?;
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    if kinds.first() != Some(&"run-started") || events[0]["version"] != 1 {
        bail!("the stream begins with {:?}", events.first());
    }
    if kinds.last() != Some(&"run-ended") {
        bail!("the stream ends with {:?}", kinds.last());
    }
    let refused = trial.me(
        "echo 'name = 3' >bad.toml; slicer-k3s init --config bad.toml --output ndjson 2>/dev/null",
    )?;
    let refused = refused.expect(2)?.stdout;
    let first: Value = serde_json::from_str(refused.lines().next().unwrap_or_default())
        .context("a refusal as an event")?;
    if first["type"] != "failed" || first["code"] != "config" || first["version"] != 1 {
        bail!("a refusal is told as {first}");
    }
    Ok(())
}
