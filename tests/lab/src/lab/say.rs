//! What the lab tells the person: progress on standard error, answers on standard output.

use std::cell::Cell;
use std::fmt::Display;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;

thread_local! {
    /// What this thread's lines are about, where several run side by side.
    static ABOUT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// From here on this thread's lines begin with this name.
pub(crate) fn about(name: &'static str) {
    ABOUT.set(Some(name));
}

/// One line of progress.
pub(crate) fn line(text: impl Display) {
    // A closed terminal is no reason to leave a fleet half made.
    let _ = match ABOUT.get() {
        Some(name) => writeln!(std::io::stderr(), "[{name}] {text}"),
        None => writeln!(std::io::stderr(), "{text}"),
    };
}

/// One line of an answer.
pub(crate) fn answer(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Says what is being done and why, does it, and says how long it took.
pub(crate) fn timed<T>(what: &str, why: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    line(format_args!("· {what} ({why}) …"));
    let start = Instant::now();
    let done = work()?;
    line(format_args!(
        "✓ {what}: {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    Ok(done)
}
