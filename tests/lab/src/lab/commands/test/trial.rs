//! A fleet under test: up, commands on its machines, down again whatever happens.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::place::Place;

/// No command of a scenario takes longer.
const LIMIT: Duration = Duration::from_mins(15);

/// A running fleet; dropped, it goes down.
pub(crate) struct Trial {
    name: String,
    stays: bool,
    up: Duration,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Done {
    /// The exit code must be `status`; otherwise what was said is the error.
    pub(crate) fn expect(self, status: i32) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        bail!(
            "exit code {} instead of {status} after {:.0} s; it said:\n{}\n{}",
            self.status,
            self.took.as_secs_f64(),
            tail(&self.stdout),
            tail(&self.stderr)
        )
    }

    /// Both streams.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

impl Trial {
    /// Starts a fleet for this test alone and puts the product on the workstation and on hosts named in `also`.
    pub(super) fn up(fleet: &str, name: &str, also: &[&str]) -> Result<Self> {
        // An earlier test that was killed may have left its fleet.
        let _ = lab(&["down", "--fleet", name], b"");
        Self::start(fleet, name, also, false, &[])
    }

    /// The same with one of the possibilities that Slicer's documentation leaves open (`KEY=VALUE`).
    pub(super) fn up_as(fleet: &str, name: &str, variant: &str) -> Result<Self> {
        let _ = lab(&["down", "--fleet", name], b"");
        Self::start(fleet, name, &[], false, &["--variant", variant])
    }

    /// Breaks or mends something: the words of `lab fault`.
    pub(super) fn fault(&self, words: &[&str]) -> Result<()> {
        let words = [&["fault", "--fleet", &self.name], words].concat();
        lab(&words, b"")?.expect(0).map(drop)
    }

    /// Starts a fleet under its own name that stays up, or goes on with the one that is up.
    pub(crate) fn keep(fleet: &str) -> Result<Self> {
        let up = crate::state::State::all()?
            .iter()
            .any(|state| state.name == fleet);
        if up {
            Ok(Self {
                name: fleet.to_owned(),
                stays: true,
                up: Duration::ZERO,
            })
        } else {
            Self::start(fleet, fleet, &[], true, &[])
        }
    }

    fn start(
        fleet: &str,
        name: &str,
        also: &[&str],
        stays: bool,
        options: &[&str],
    ) -> Result<Self> {
        let up = [&["up", "--fleet", fleet, "--name", name], options].concat();
        Self::with(name, &up, stays, &product()?, also)
    }

    /// A fleet for a measurement: the product as it is released, and when etcd's learners are first promoted.
    pub(crate) fn measured(fleet: &str, phase: &str, program: &Path) -> Result<Self> {
        let name = format!("bench-{fleet}");
        let _ = lab(&["down", "--fleet", &name], b"");
        let phase = format!("promote-phase={phase}");
        let up = ["up", "--fleet", fleet, "--name", &name, "--variant", &phase];
        Self::with(&name, &up, false, program, &[])
    }

    fn with(name: &str, up: &[&str], stays: bool, program: &Path, also: &[&str]) -> Result<Self> {
        let mut trial = Self {
            name: name.to_owned(),
            stays,
            up: Duration::ZERO,
        };
        trial.up = lab(up, b"")?.expect(0).context("lab up")?.took;
        let program = std::fs::read(program)?;
        for machine in ["workstation"].iter().chain(also) {
            trial.put(machine, "/usr/local/bin/slicer-k3s", "0755", &program)?;
        }
        Ok(trial)
    }

    /// Runs a script as root on a machine.
    pub(crate) fn root(&self, machine: &str, script: &str) -> Result<Done> {
        lab(
            &[
                "run", "--fleet", &self.name, machine, "--", "sh", "-c", script,
            ],
            b"",
        )
    }

    /// Runs a script as a user on a machine, in the user's home.
    pub(super) fn as_user(&self, machine: &str, user: &str, script: &str) -> Result<Done> {
        lab(
            &[
                "run", "--fleet", &self.name, machine, "--", "su", "-", user, "-c", script,
            ],
            b"",
        )
    }

    /// Runs a script as the person at the workstation.
    pub(crate) fn me(&self, script: &str) -> Result<Done> {
        self.as_user("workstation", "me", script)
    }

    /// Writes a file on a machine.
    pub(crate) fn put(&self, machine: &str, path: &str, mode: &str, content: &[u8]) -> Result<()> {
        let script = "umask 077; cat >\"$1\" && chmod \"$2\" \"$1\"";
        lab(
            &[
                "run", "--fleet", &self.name, machine, "--", "sh", "-c", script, "put", path, mode,
            ],
            content,
        )?
        .expect(0)
        .map(drop)
    }

    /// Writes a file that belongs to the person at the workstation.
    pub(crate) fn put_mine(&self, name: &str, mode: &str, content: &str) -> Result<()> {
        let path = format!("/home/me/{name}");
        self.put("workstation", &path, mode, content.as_bytes())?;
        self.root("workstation", &format!("chown me:me {path}"))?
            .expect(0)
            .map(drop)
    }

    /// The VMs that run, on whichever host.
    pub(super) fn vms(&self) -> Result<Vec<String>> {
        let fleets = crate::state::State::all()?;
        let fleet = fleets.iter().find(|fleet| fleet.name == self.name);
        let fleet = fleet.context("the fleet is not up")?;
        let machines = fleet.machines.iter();
        Ok(machines
            .flat_map(|machine| crate::machine::virtual_machines(fleet, machine))
            .collect())
    }

    /// How long the fleet took to come up.
    pub(crate) fn up_seconds(&self) -> f64 {
        self.up.as_secs_f64()
    }

    /// The fleet's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.stays {
            let _ = lab(&["down", "--fleet", &self.name], b"");
        }
    }
}

/// A cluster.toml with the files it names.
pub(crate) struct Cluster {
    text: &'static str,
    /// (file, content), private to the person.
    files: &'static [(&'static str, &'static str)],
}

/// Fleet `one`: the one host for everything.
pub(crate) const CLUSTER_OF_ONE: Cluster = Cluster {
    text: r#"name = "home"
[control-plane]
hosts = ["n100"]
[hosts.n100]
ssh = "alex@192.168.1.11"
"#,
    files: &[],
};

/// Fleet `three`, whose ryzen asks for a sudo password.
pub(crate) const CLUSTER_OF_THREE: Cluster = Cluster {
    text: r#"name = "home"
[control-plane]
hosts = ["n100"]
[hosts.n100]
ssh = "alex@192.168.1.11"
[hosts.ryzen]
ssh = "alex@192.168.1.12"
sudo-password-file = "~/sudo-ryzen"
[hosts.pi5]
ssh = "pi@192.168.1.13"
"#,
    files: &[("sudo-ryzen", "correct horse\n")],
};

/// A cluster of that fleet with a server on each of its hosts, and what else is said of one of them.
macro_rules! spread {
    ($of_ryzen:literal) => {
        Cluster {
            text: concat!(
                r#"name = "home"
[control-plane]
hosts = ["n100", "ryzen", "pi5"]
[hosts.n100]
ssh = "alex@192.168.1.11"
[hosts.ryzen]
ssh = "alex@192.168.1.12"
sudo-password-file = "~/sudo-ryzen"
"#,
                $of_ryzen,
                r#"[hosts.pi5]
ssh = "pi@192.168.1.13"
"#
            ),
            files: CLUSTER_OF_THREE.files,
        }
    };
}

/// The same fleet with a server on each of its hosts.
pub(super) const CLUSTER_SPREAD: Cluster = spread!("");

/// The same with agents on one of them.
pub(super) const CLUSTER_SPREAD_WITH_AGENTS: Cluster = spread!("workers = true\n");

/// Fleet `mixed`, with a server behind the NAT.
pub(super) const CLUSTER_MIXED: Cluster = Cluster {
    text: r#"name = "home"
[control-plane]
hosts = ["n100", "pi5", "attic"]
[hosts.n100]
ssh = "alex@192.168.1.11"
[hosts.ryzen]
ssh = "alex@192.168.1.12"
sudo-password-file = "~/sudo-ryzen"
[hosts.pi5]
ssh = "pi@192.168.1.13"
[hosts.attic]
ssh = "alex@10.20.0.2"
jump = "alex@192.168.1.12"
workers = true
"#,
    files: CLUSTER_OF_THREE.files,
};

impl Cluster {
    /// One that names no files.
    pub(super) const fn of(text: &'static str) -> Self {
        Self { text, files: &[] }
    }

    /// Puts it into the home of the person at the workstation.
    pub(crate) fn write(&self, trial: &Trial) -> Result<()> {
        self.write_with(trial, "")
    }

    /// The same with more sections behind it.
    pub(super) fn write_with(&self, trial: &Trial, more: &str) -> Result<()> {
        for (name, content) in self.files {
            trial.put_mine(name, "0600", content)?;
        }
        trial.put_mine("cluster.toml", "0644", &format!("{}{more}", self.text))
    }

    /// Its text, for people.
    pub(crate) fn indented(&self) -> String {
        format!("    {}\n", self.text.trim_end().replace('\n', "\n    "))
    }
}

/// The product, built for machines.
pub(super) fn product() -> Result<PathBuf> {
    crate::cache::binaries::for_machines("slicer-k3s", "slicer-k3s", false)
}

/// This program with other arguments, so that a scenario uses the lab as a person does.
pub(super) fn lab(words: &[&str], stdin: &[u8]) -> Result<Done> {
    let what = format!("lab {}", words.join(" "));
    // Not by its path: the unit tests before may have built it anew.
    ended(Command::new("/proc/self/exe").args(words), &what, stdin)
}

/// A script of the tree, with this program and a fleet as its arguments.
pub(super) fn script(path: &str, fleet: &str) -> Result<Done> {
    // The script's children are not this process: they need a name that stands for the same program.
    let program = format!("/proc/{}/exe", std::process::id());
    ended(
        Command::new(Place::workspace().join(path)).args([&program, fleet]),
        path,
        b"",
    )
}

/// Runs a program in the tree's root and takes what it says.
fn ended(command: &mut Command, what: &str, stdin: &[u8]) -> Result<Done> {
    let begin = Instant::now();
    let mut child = command
        .current_dir(Place::workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take();
    let content = stdin.to_vec();
    let feed = std::thread::spawn(move || {
        if let Some(input) = &mut input {
            let _ = input.write_all(&content);
        }
        drop(input);
    });
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begin.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            bail!("`{what}` did not end within {} s", LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let _ = feed.join();
    Ok(Done {
        status: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: out.join().unwrap_or_default(),
        stderr: err.join().unwrap_or_default(),
        took: begin.elapsed(),
    })
}

fn collect(stream: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
