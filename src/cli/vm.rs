//! `exec`, `shell` and `logs`: what reaches into a VM, as arguments.

use std::time::Duration;

use clap::Args;

use super::examples;

/// Run a command as root in a VM, by its own or its Node's name; no route and no key needed.
///
/// Servers are reached over SSH through their host, agents through Slicer's API. What is piped in becomes the command's
/// stdin, and its exit code is ours; 125 where it could not be run. A server gives it a terminal where this is one.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::EXEC)]
pub struct Exec {
    /// The VM or its Node
    pub vm: String,

    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub command: Vec<String>,
}

/// Open a shell as root in a VM, by its own or its Node's name; no route and no key needed.
///
/// Servers are reached over SSH through their host, agents through Slicer's API. The shell's exit code is passed on; 125 if there
/// was none. `exec` runs a single command.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::SHELL)]
pub struct Shell {
    /// The VM or its Node
    pub vm: String,
}

/// Show logs: of a VM's services or its console, of a group's daemon, of the autoscaler.
///
/// `--since` and `--grep` work together and with `-f`. With either, everything is searched, however much it is: of the
/// autoscaler also what the kubelet has moved aside. Exit code 1 where no line contains the text.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::LOGS)]
pub struct Logs {
    /// A VM or its Node, a group (its Slicer daemon), or `autoscaler`
    pub name: String,

    /// This systemd unit of the VM; by default k3s's own
    #[arg(long, short, conflicts_with = "console")]
    pub unit: Option<String>,

    /// The VM's serial console: its boot, where no unit runs yet
    #[arg(long)]
    pub console: bool,

    /// Go on until interrupted
    #[arg(long, short)]
    pub follow: bool,

    /// The last lines to begin with; by default 100, or all of them with --since or --grep
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub lines: Option<u32>,

    /// Only what is not older: 30s, 15m, 2h or 1h30m; a console's lines have no times
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "console")]
    pub since: Option<Duration>,

    /// Only lines that contain this text, which is no pattern; upper or lower case counts only where it has a capital letter.
    /// All of the log is searched; exit code 1 where no line is found
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub grep: Option<String>,
}

/// Longest `--since`: ten years, far below what any date arithmetic on a machine can take.
const LONGEST: u64 = 10 * 365 * 86_400;

/// Reads a duration as kubectl's `--since` takes it: numbers, each with `h`, `m` or `s`. Whole seconds, at least one.
///
/// Source: Go's time.ParseDuration, of which fractions and units below a second are left out.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give it as 30s, 15m, 2h or 1h30m".to_owned();
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let mut after = after.chars();
        let unit = match after.next() {
            Some('h') => 3600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(unit).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        rest = after.as_str();
    }
    match seconds {
        0 => Err(wrong()),
        1..=LONGEST => Ok(Duration::from_secs(seconds)),
        _ => Err("that is more than ten years".to_owned()),
    }
}

/// Reads a text to look for: one line, not empty.
fn text(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['\n', '\0']) {
        return Err("give one line of text".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubectl_takes_them() {
        for (text, seconds) in [
            ("30s", Some(30)),
            ("15m", Some(900)),
            ("2h", Some(7200)),
            ("1h30m", Some(5400)),
            ("", None),
            ("0s", None),
            ("15", None),
            ("m", None),
            ("15 m", None),
            ("-5m", None),
            ("2d", None),
            ("99999999999999999999h", None),
            ("999999999h", None),
        ] {
            let read = duration(text).ok().map(|read| read.as_secs());
            assert_eq!(read, seconds, "{text}");
        }
    }

    #[test]
    fn a_text_of_several_lines_or_none_is_refused() {
        assert!(text("").is_err() && text("a\nb").is_err());
        assert_eq!(text(" cannot be removed").unwrap(), " cannot be removed");
    }
}
