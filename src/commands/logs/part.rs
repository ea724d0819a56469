//! Which part of a log is shown: how far back it goes, and which of its lines. What leaves lines out runs on the machine
//! that has the log, line by line: the autoscaler writes 30 MB an hour.

use std::time::Duration;

use crate::cli::Logs;
use crate::remote::Script;

/// Exit status of a filter that found no line, and that neither kubectl nor journalctl has.
pub(super) const NOTHING: i32 = 120;

/// Lines that are shown where nothing was asked for.
const LINES: u32 = 100;

/// A part of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// The last lines to begin with; all where there is no number.
    pub(super) lines: Option<u32>,
    /// How far back.
    pub(super) since: Option<Duration>,
    /// What each line contains.
    pub(super) grep: Option<&'a str>,
    /// Whether it goes on.
    pub(super) follow: bool,
}

impl<'a> Part<'a> {
    /// What the person asked for. A limit of ours would cut what is searched.
    pub(super) fn of(options: &'a Logs) -> Self {
        let bounded = options.since.is_some() || options.grep.is_some();
        Self {
            lines: options.lines.or((!bounded).then_some(LINES)),
            since: options.since,
            grep: options.grep.as_deref(),
            follow: options.follow,
        }
    }

    /// A unit's journal.
    pub(super) fn journal(&self, unit: &str) -> Script {
        let lines = self
            .lines
            .map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let mut words = vec!["journalctl", "--no-pager", "-u", unit, "-n", &lines];
        let since = self.since.map(|since| format!("-{}s", since.as_secs()));
        let since = since.map(|since| format!("--since={since}"));
        words.extend(since.as_deref());
        words.extend(self.follow.then_some("-f"));
        self.only(Script::words(words))
    }

    /// The log of a pod of this workload: what kubectl has of it.
    pub(super) fn pod(&self, namespace: &str, workload: &str) -> Script {
        let mut words = vec!["k3s", "kubectl", "logs", "-n", namespace, workload];
        let lines = self.lines.map(|lines| format!("--tail={lines}"));
        let since = self.since.map(|it| format!("--since={}s", it.as_secs()));
        words.extend(lines.as_deref());
        words.extend(since.as_deref());
        words.extend(self.follow.then_some("-f"));
        self.only(Script::words(words))
    }

    /// What the kubelet has moved aside of the same log, of a container's directory and how often it was restarted.
    pub(super) fn rotated(&self, directory: &str, restarts: u64) -> Script {
        let since = self.since.map_or(0, |since| since.as_secs()).to_string();
        let restarts = restarts.to_string();
        self.only(Script::new(
            include_str!("rotated.sh"),
            &[directory, &restarts, &since],
        ))
    }

    /// What a VM printed on its console. It is anybody's text: nothing that a terminal would obey comes through.
    pub(super) fn console(&self, file: &str) -> Script {
        let lines = self.lines.map(|lines| lines.to_string());
        let follow = if self.follow { "-F" } else { "-q" };
        self.only(Script::new(
            "f={}; [ -e \"$f\" ] || { echo \"$f does not exist on $(hostname)\" >&2; exit 1; }
tail {} -n {} -- \"$f\" | LC_ALL=C.UTF-8 sed -u 's/\\x1b\\[[0-9;?]*[A-Za-z]//g; s/[^[:print:]\\t]//g'",
            &[file, follow, lines.as_deref().unwrap_or("+1")],
        ))
    }

    /// The same log with the lines that were asked for.
    fn only(&self, script: Script) -> Script {
        let Some(text) = self.grep else {
            return script;
        };
        // As `journalctl --grep`: without a capital letter any spelling counts.
        let any = !text.chars().any(char::is_uppercase);
        let flags = if any { "-aFi" } else { "-aF" };
        Script::new(
            include_str!("filter.sh"),
            &[script.text(), flags, text, &NOTHING.to_string()],
        )
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn part(grep: Option<&str>) -> Part<'_> {
        Part {
            lines: None,
            since: None,
            grep,
            follow: false,
        }
    }

    /// What a script prints here, and its status.
    fn run(script: &Script) -> (String, Option<i32>) {
        let out = Command::new("/bin/sh")
            .args(["-c", script.text()])
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        (text, out.status.code())
    }

    fn says(text: &'static str) -> Script {
        Script::new(text, &[])
    }

    /// 100 lines are a fraction of one loop of the autoscaler, and what is looked for is not among them.
    #[test]
    fn a_search_is_not_cut_by_the_default_number_of_lines() {
        let logs = |since, grep: Option<&str>, lines| Logs {
            name: "autoscaler".into(),
            unit: None,
            console: false,
            follow: false,
            lines,
            since,
            grep: grep.map(str::to_owned),
        };
        let minute = Some(Duration::from_mins(1));
        for (options, lines) in [
            (logs(None, None, None), Some(100)),
            (logs(None, Some("x"), None), None),
            (logs(minute, None, None), None),
            (logs(minute, Some("x"), Some(7)), Some(7)),
        ] {
            assert_eq!(Part::of(&options).lines, lines, "{options:?}");
        }
    }

    #[test]
    fn each_log_is_asked_for_what_it_has() {
        let part = Part {
            since: Some(Duration::from_mins(15)),
            follow: true,
            ..part(None)
        };
        assert_eq!(
            part.pod("kube-system", "deployment/x").text(),
            "k3s kubectl logs -n kube-system deployment/x --since=900s -f"
        );
        assert_eq!(
            part.journal("k3s").text(),
            "journalctl --no-pager -u k3s -n all --since=-900s -f"
        );
        let few = Part {
            lines: Some(9),
            ..super::tests::part(None)
        };
        assert!(few.pod("a", "b").text().ends_with(" --tail=9"));
        assert!(few.console("/x").text().contains("tail -q -n 9 -- "));
        assert!(
            super::tests::part(None)
                .console("/x")
                .text()
                .contains("-n +1 ")
        );
    }

    #[test]
    fn a_text_is_found_as_it_stands_and_in_any_case_unless_it_has_a_capital() {
        let log = "printf 'Node a Cannot be removed\\nnode b\\n\\377 a.c\\n'";
        for (text, found, status) in [
            ("cannot be removed", "Node a Cannot be removed\n", 0),
            ("Cannot", "Node a Cannot be removed\n", 0),
            ("CANNOT", "", NOTHING),
            ("abc", "", NOTHING),
            ("-e", "", NOTHING),
            ("'; echo x; '", "", NOTHING),
        ] {
            let got = run(&part(Some(text)).only(says(log)));
            assert_eq!(got, (found.to_owned(), Some(status)), "{text}");
        }
    }

    /// That nothing was found must not hide that nothing was searched.
    #[test]
    fn a_log_that_cannot_be_had_keeps_its_own_status() {
        let failed = part(Some("x")).only(says("echo x; exit 7"));
        assert_eq!(run(&failed), ("x\n".to_owned(), Some(7)));
    }

    /// The kubelet moves a log aside at 10 MiB, which is 20 minutes of the autoscaler's; kubectl shows only the rest.
    #[test]
    fn what_the_kubelet_moved_aside_is_searched_too() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs_err::write(directory.path().join(name), text).unwrap();
        };
        let now = || {
            Command::new("date")
                .arg("+%Y-%m-%dT%H:%M:%S.123456789Z")
                .output()
        };
        let now = String::from_utf8(now().unwrap().stdout).unwrap();
        let now = now.trim();
        write("2.log", &format!("{now} stderr F current\n"));
        write(
            "2.log.20261130-090000",
            &format!("{now} stderr F N cannot be removed\n{now} stderr P:x half\n"),
        );
        write(
            "2.log.20261130-080000",
            "2020-01-01T00:00:00.1Z stderr F old cannot be removed\n",
        );
        write(
            "2.log.20261130-070000",
            "2020-01-01T00:00:00.1Z stderr F oldest\n",
        );
        write("2.log.20261130-090001.tmp", "x\n");
        write("1.log.20261130-090000", "x\n");
        let gzip = Command::new("gzip")
            .arg(directory.path().join("2.log.20261130-070000"))
            .status();
        assert!(gzip.unwrap().success());
        let place = directory.path().display().to_string();
        let all = "oldest\nold cannot be removed\nN cannot be removed\nhalf\n";
        assert_eq!(run(&part(None).rotated(&place, 2)), (all.into(), Some(0)));
        let young = Part {
            since: Some(Duration::from_mins(15)),
            ..part(Some("cannot be removed"))
        };
        let found = "N cannot be removed\n";
        assert_eq!(run(&young.rotated(&place, 2)), (found.into(), Some(0)));
        assert_eq!(
            run(&part(Some("x")).rotated(&place, 0)),
            (String::new(), Some(NOTHING))
        );
    }
}
