//! "There is none", told from a question that nobody answered: sudo that refuses, a shell that does not start and a disk that
//! cannot be read end a command with another status than 0, too.

use super::{Output, Probe};

/// What a script says on stderr where what it looks for does not exist. sudo may warn beside it.
const NONE: &str = "slicer-k3s: there is none";

/// The end of a script that found nothing.
macro_rules! none {
    () => {
        "echo 'slicer-k3s: there is none' >&2; exit 1"
    };
}

/// Runs a command that says nothing on stderr where what it reads is there, and tells the errors of one that is not there from all
/// others, which end with status 3.
macro_rules! read_or_none {
    ($command:literal) => {
        concat!(
            "export LC_ALL=C; { w=$({ ",
            $command,
            "; } 2>&1 >&3); } 3>&1 && exit 0\n",
            $crate::remote::absent::tell_none!()
        )
    };
}

/// By the words of a command that failed, in `$w`.
macro_rules! tell_none {
    () => {
        concat!(
            "case $w in *': No such file or directory' | *': No such file' | *': Not a directory') ",
            $crate::remote::absent::none!(),
            ";; esac; printf '%s\\n' \"$w\" >&2; exit 3"
        )
    };
}

pub(super) use {none, read_or_none, tell_none};

/// Statuses of a command that could not be started: not executable, not found.
const NOT_STARTED: [i32; 2] = [126, 127];

impl Probe {
    /// Whether what came back is no answer to the question: its script did not run, or could not see what it was to look at.
    pub(super) fn is_unanswered(&self, output: &Output) -> bool {
        match self {
            // Of these, nothing but that they run is known of the programs that they start.
            Self::Kubernetes { .. } | Self::Version(_) => false,
            // systemctl ends so where it cannot ask systemd, and with 0 where there is no such unit.
            Self::Unit(_) => !output.ok(),
            Self::File(_)
            | Self::Program(_)
            | Self::FileFacts(_)
            | Self::FileStamp(_)
            | Self::Directory(_)
            | Self::ConsoleLogs(_)
            | Self::NatTable(_) => !output.ok() && !says_none(output),
            _ => NOT_STARTED.contains(&output.status),
        }
    }

    /// What it looks at, where that has a name.
    pub(super) fn thing(&self) -> Option<&str> {
        match self {
            Self::File(thing)
            | Self::Program(thing)
            | Self::FileFacts(thing)
            | Self::FileStamp(thing)
            | Self::Directory(thing)
            | Self::Unit(thing) => Some(thing),
            Self::ConsoleLogs(_) => Some("the VMs' console logs"),
            Self::NatTable(_) => Some("nftables"),
            _ => None,
        }
    }
}

fn says_none(output: &Output) -> bool {
    let silent = output.stdout.is_empty() && output.stderr.is_empty();
    output.status == 1 && (silent || output.stderr.lines().any(|line| line.trim() == NONE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::slicer::CONSOLES;
    use crate::remote::{Local, Machine, Sudo};

    fn asked(text: &str) -> Output {
        let shell = std::process::Command::new("sh")
            .args(["-c", text])
            .output()
            .unwrap();
        Output {
            status: shell.status.code().unwrap(),
            stdout: String::from_utf8_lossy(&shell.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&shell.stderr).into_owned(),
            cut: false,
        }
    }

    fn at_paths(path: &str) -> Vec<Probe> {
        vec![
            Probe::File(path.to_owned()),
            Probe::FileFacts(path.to_owned()),
            Probe::FileStamp(path.to_owned()),
            Probe::Directory(path.to_owned()),
            Probe::Program(path.to_owned()),
        ]
    }

    /// A host with a wrong name in /etc/hosts has a warning of sudo's beside each answer; one whose sudo refuses, or whose shell
    /// does not start, counted as one that holds nothing, and its removal as done.
    #[test]
    fn only_the_scripts_own_word_means_that_there_is_none() {
        let output = |status, stderr: &str| Output {
            status,
            stderr: stderr.to_owned(),
            ..Output::default()
        };
        let mut probes = at_paths("/x");
        probes.push(Probe::ConsoleLogs("a".into()));
        probes.push(Probe::NatTable("a".into()));
        let warned = format!("sudo: unable to resolve host pi5\n{NONE}\n");
        for probe in &probes {
            assert!(!probe.is_unanswered(&output(0, "")), "{probe:?}");
            assert!(!probe.is_unanswered(&output(1, &warned)), "{probe:?}");
            for (status, stderr) in [
                (1, "sudo: a password is required\n"),
                (2, "sh: 1: Cannot fork\n"),
                (3, "cat: /x: Input/output error\n"),
                (126, "timeout: failed to run command '/bin/sh'\n"),
                (127, ""),
                (137, ""),
            ] {
                assert!(probe.is_unanswered(&output(status, stderr)), "{probe:?}");
            }
        }
        let unit = Probe::Unit("k3s".into());
        assert!(unit.is_unanswered(&output(1, "Failed to connect to bus: …\n")));
        assert!(Probe::Routes.is_unanswered(&output(127, "sh: 1: ip: not found\n")));
        let version = Probe::Version("/usr/local/bin/k3s".into());
        assert!(!version.is_unanswered(&output(127, "")));
    }

    /// Behind what is no directory there is nothing either, and a link that leads nowhere is no file.
    #[test]
    fn what_does_not_exist_is_told_from_what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        fs_err::write(at("file"), "text").unwrap();
        let link = |to: &str, name: &str| fs_err::os::unix::fs::symlink(to, at(name)).unwrap();
        link("nowhere", "dangling");
        link("loop", "loop");
        for name in ["gone", "file/x", "dangling"] {
            for probe in at_paths(&at(name)) {
                let output = asked(probe.script().text());
                assert_eq!(output.status, 1, "{probe:?} {output:?}");
                assert!(output.stderr.contains(NONE), "{probe:?} {output:?}");
            }
        }
        let output = asked(Probe::Directory(at("file")).script().text());
        assert!(output.status == 1 && says_none(&output), "{output:?}");
        for probe in [Probe::File(at("loop")), Probe::Directory(at("loop"))] {
            let output = asked(probe.script().text());
            assert!(probe.is_unanswered(&output), "{probe:?} {output:?}");
            assert!(output.stderr.contains("symbolic links"), "{output:?}");
        }
        let output = asked(Probe::File(at("file")).script().text());
        assert_eq!((output.status, &*output.stdout), (0, "text"));
        let facts = asked(Probe::FileFacts(at("file")).script().text());
        assert!(facts.ok() && facts.stdout.lines().count() == 2, "{facts:?}");
    }

    /// A host without nft has no table; one whose nft fails has not said so.
    #[test]
    fn a_table_is_missing_only_where_nft_says_so() {
        let script = Probe::NatTable("x".into()).script().text().to_owned();
        for (nft, status) in [
            ("echo table", 0),
            ("echo 'Error: No such file or directory' >&2; return 1", 1),
            ("echo 'Operation not permitted' >&2; return 1", 3),
        ] {
            let output = asked(&format!("nft() {{ {nft}; }}\n{script}"));
            assert_eq!(output.status, status, "{output:?}");
            assert_eq!(output.stdout.trim() == "table", status == 0);
        }
        let output = asked(&format!("PATH=/nonexistent\n{script}"));
        assert!(output.status == 1 && says_none(&output), "{output:?}");
    }

    /// `ls` says "No such file" for each pattern that matches nothing.
    #[test]
    fn console_logs_that_cannot_be_listed_are_not_none() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display().to_string();
        let script = Probe::ConsoleLogs("k3s-a".into())
            .script()
            .text()
            .to_owned();
        let script = script.replace(CONSOLES, &place);
        assert!(says_none(&asked(&script)));
        fs_err::write(dir.path().join("k3s-a-12.txt"), "").unwrap();
        fs_err::write(dir.path().join("k3s-a-b-1.txt"), "").unwrap();
        let output = asked(&script);
        let found = format!("{place}/k3s-a-12.txt\n");
        assert_eq!((output.status, output.stdout), (0, found));
        let broken = "ls() { echo \"ls: cannot access 'x': Input/output error\" >&2; return 2; }\n";
        let output = asked(&format!("{broken}{script}"));
        assert_eq!(output.status, 3, "{output:?}");
    }

    #[tokio::test]
    async fn a_look_that_nobody_answered_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loop");
        fs_err::os::unix::fs::symlink(&path, &path).unwrap();
        let machine = Machine::new("here", Box::new(Local), Sudo::Root);
        let failure = machine.read(&path.display().to_string()).await.unwrap_err();
        assert!(failure.to_string().contains("symbolic links"), "{failure}");
        let gone = dir.path().join("gone").display().to_string();
        assert_eq!(machine.read(&gone).await.unwrap(), None);
    }
}
