//! Running other programs, with errors that say what was run and what it answered.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// How much of a program's complaint is repeated.
const TAIL: usize = 2000;

/// Runs a program to its end; its standard output, or an error that quotes its complaint.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    output_of(&shown, command)
}

/// The same for a command that is better not shown whole.
pub(crate) fn output_of(shown: &str, command: &mut Command) -> Result<String> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !done.status.success() {
        bail!(
            "`{shown}` failed ({}): {}",
            done.status,
            complaint(&done.stderr, &done.stdout)
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a program to its end with the terminal's output streams, for builds that show progress.
pub(crate) fn visible(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// A program with its arguments, in one go.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Whether a program is to be found by name.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's PATH often lacks the administrator's directories.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

fn complaint(stderr: &[u8], stdout: &[u8]) -> String {
    let told = if stderr.is_empty() { stdout } else { stderr };
    let text = String::from_utf8_lossy(&told[told.len().saturating_sub(TAIL)..])
        .trim()
        .to_owned();
    if text.is_empty() {
        "it said nothing".to_owned()
    } else {
        text
    }
}
