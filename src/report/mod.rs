//! The only place that knows the terminal.

mod layout;
mod lines;
mod live;
mod locale;
mod ndjson;
mod plan;
mod reader;
mod timings;

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::OnceLock;

use console::style;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

pub use layout::{WIDTH, headed, table, wrapped};
pub use locale::plain;
pub use plan::plan;
pub use reader::reader_gone;
pub use timings::timings;

use crate::cli::Output;
use crate::escape::escape;
use crate::event::Event;
use crate::failure::{Code, Failure};

/// What renders events.
trait Report: Send {
    /// One thing happened.
    fn event(&mut self, event: &Event);
}

/// Starts rendering; the task ends when the stream does.
pub fn listen(output: Output, mut events: UnboundedReceiver<Event>) -> JoinHandle<()> {
    let mut report: Box<dyn Report> = match output {
        Output::Ndjson => Box::new(ndjson::Ndjson),
        Output::Human if std::io::stderr().is_terminal() => Box::new(live::Live::new()),
        Output::Human | Output::Json => Box::new(lines::Lines::default()),
    };
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            report.event(&event);
        }
    })
}

/// Tells one event that belongs to no run.
pub fn tell(event: &Event) {
    say(&lines::line(event).unwrap_or_default());
}

/// A sentence or a table for people, on stderr; text from machines must be escaped before.
pub fn say(text: &str) {
    let text = plain(text);
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{text}\n"));
}

/// The first of what could not be written to stdout.
static LOST: OnceLock<String> = OnceLock::new();

/// Data, on stdout; a reader that went away is nobody's failure, a disk that is full is ([`all_written`]).
pub fn data(text: &str) {
    use std::io::Write as _;
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = LOST.set(error.to_string());
        }
        _ => {}
    }
}

/// Fails where some of the data could not be written.
pub fn all_written() -> Result<(), Failure> {
    LOST.get().map_or(Ok(()), |why| {
        Err(Failure::new(Code::LocalFile, "not all could be written to stdout").because(why))
    })
}

/// Tells one failure that ends nothing.
pub fn failure(failure: &Failure) {
    crate::log::note(format!("error[{}] {failure}", failure.code.name()));
    say(&render(failure));
}

/// Tells failures, each as code, what, cause, hint; the exit code is the first one's.
pub fn failures(failures: &[Failure], output: Output) -> ExitCode {
    for failure in failures {
        if output == Output::Ndjson {
            ndjson::Ndjson.event(&failed(failure));
        }
    }
    if let [only] = failures
        && let Some(line) = cancelled(only)
    {
        say(&line);
        return ExitCode::from(only.code.exit_code());
    }
    for failure in failures {
        self::failure(failure);
    }
    if let Some(more) = more(failures) {
        say(&more);
    }
    if let Some(path) = crate::log::path() {
        say(&format!("log: {}", path.display()));
    }
    ExitCode::from(
        failures
            .first()
            .map_or(1, |failure| failure.code.exit_code()),
    )
}

fn failed(failure: &Failure) -> Event {
    Event::Failed {
        version: crate::event::VERSION,
        code: failure.code.name(),
        what: failure.what.clone(),
        cause: failure.cause.clone(),
        hint: failure.next().map(str::to_owned),
    }
}

/// What a person is told who said no: that needs neither a cause nor a page to read on. Without an answer there is a cause.
fn cancelled(failure: &Failure) -> Option<String> {
    if failure.code != Code::Declined || failure.cause.is_some() {
        return None;
    }
    let hint = failure.hint.as_ref();
    let hint = hint.map_or_else(String::new, |hint| format!(" ({})", escape(hint)));
    Some(format!("Cancelled: {}{hint}", escape(&failure.what)))
}

/// Where to read on, unless everything is said: mistakes in a file come with their lines, a stop is nobody's riddle.
fn more(failures: &[Failure]) -> Option<String> {
    let mut codes: Vec<&str> = Vec::new();
    for code in failures.iter().map(|failure| failure.code) {
        let plain = matches!(code, Code::Config | Code::Interrupted | Code::Terminated);
        if !plain && !codes.contains(&code.name()) {
            codes.push(code.name());
        }
    }
    let commands: Vec<String> = codes
        .iter()
        .map(|code| format!("slicer-k3s explain {code}"))
        .collect();
    (!commands.is_empty()).then(|| format!("more: {}", commands.join(", ")))
}

/// Something that is a defect or a broken machine of ours rather than of the fleet.
pub fn crash(error: &std::io::Error) -> ExitCode {
    say(&format!("error: cannot start: {error}"));
    ExitCode::FAILURE
}

/// A hint's first line, and below it its commands, one a line.
fn lines(hint: &str) -> String {
    let lines: Vec<String> = hint.lines().map(escape).collect();
    lines.join("\n    ")
}

/// `error[code]: what` / `  cause: …` / `  hint: …`.
fn render(failure: &Failure) -> String {
    let mut text = format!(
        "{}{}{} {}",
        style("error[").red().bold().for_stderr(),
        style(failure.code.name()).red().bold().for_stderr(),
        style("]:").red().bold().for_stderr(),
        escape(&failure.what)
    );
    if let Some(cause) = &failure.cause {
        let _ = write!(
            text,
            "\n  {} {}",
            style("cause:").bold().for_stderr(),
            escape(cause)
        );
    }
    if let Some(hint) = failure.next() {
        let _ = write!(
            text,
            "\n  {} {}",
            style("hint:").cyan().for_stderr(),
            lines(hint)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::harmless_json;

    /// Whatever a machine said, as it is shown: as a failure, as lines, as events.
    #[test]
    fn fuzz_terminal() {
        const SAMPLES: &[&str] = &[
            "Job for k3s.service failed because the control process exited with error code.\n",
            "\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}gnp.exe\u{200b}\r\n\u{9b}31mred\u{0}",
            "sudo: a password is required\ttab\u{85}next line\u{2028}separator",
        ];
        console::set_colors_enabled_stderr(false);
        crate::fuzz::fuzz("terminal", SAMPLES, |text| {
            let failure = Failure::new(Code::Vm, text).because(text).hint(text);
            let event = Event::Note {
                text: text.to_owned(),
            };
            let json = serde_json::to_string(&event).unwrap();
            vec![
                render(&failure),
                lines::line(&event).unwrap_or_default(),
                harmless_json(&json),
                escape(text),
            ]
        });
    }

    /// A plain `n` was answered with an error, its cause, its hint, a page to read and a log.
    #[test]
    fn a_person_who_says_no_reads_one_line() {
        let declined = || Failure::new(Code::Declined, "nothing was changed");
        let line = cancelled(&declined().hint("change cluster.toml and run again"));
        let line = line.unwrap();
        assert_eq!(
            line,
            "Cancelled: nothing was changed (change cluster.toml and run again)"
        );
        let no_terminal = declined().because("there is no terminal to ask on");
        assert_eq!(cancelled(&no_terminal), None);
        assert_eq!(cancelled(&Failure::new(Code::Vm, "nothing")), None);
    }

    #[test]
    fn a_failure_shows_code_what_cause_and_hint_and_no_raw_bytes() {
        console::set_colors_enabled_stderr(false);
        let failure = Failure::new(Code::Vm, "k3s-cp-1 on n100 does not come up")
            .because("agent says \u{1b}[2J")
            .hint("sudo slicer vm logs k3s-cp-1");
        insta::assert_snapshot!(render(&failure), @r"
        error[vm]: k3s-cp-1 on n100 does not come up
          cause: agent says \u{1b}[2J
          hint: sudo slicer vm logs k3s-cp-1
        ");
    }
}
