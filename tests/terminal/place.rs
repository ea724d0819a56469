//! A workstation: a home of its own, and hosts that its SSH configuration knows by name.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use serde_json::{Value, json};
use slicer_k3s::facts::HostFacts;
use slicer_k3s::plan;
use slicer_k3s::state::State;

use crate::host::{Habits, Host, key};
use crate::pty::Pty;

/// What a host of 8 cores and 32 GB says of itself, with Slicer and its licence.
fn survey(name: &str) -> String {
    let address = match name {
        "n100" => 11,
        "ryzen" => 12,
        _ => 13,
    };
    format!(
        "== arch\n x86_64\n== model\n Box\n== os\n Debian\n== cores\n 8\n== memory\n 33000000 kB\n\
         == disk\n /dev/sda1 500000000 100000000 400000000 20% /\n== kvm\n yes\n== systemd\n yes\n== forwarding\n 1\n\
         == addresses\n [{{\"ifname\":\"eth0\",\"addr_info\":[{{\"local\":\"192.168.1.{address}\",\"prefixlen\":24}}]}}]\n\
         == routes\n []\n== interfaces\n eth0\n== ports\n== hostname\n {name}\n== identity\n {name} boot\n\
         == clock\n 1700000000\n== slicer\n Client: 0.1.71\n installed\n== licences\n /home/me/.slicer/LICENSE\n== end\n"
    )
}

/// Text that only the script of a survey contains.
const SURVEYS: &str = "section arch";

/// A workstation.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    key: PrivateKey,
    hosts: Vec<(String, Host)>,
}

impl Place {
    /// One with a key, and no hosts.
    pub(crate) fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
            key: key(),
            hosts: Vec::new(),
        };
        for directory in ["home/.ssh", "bin", "work"] {
            std::fs::create_dir_all(place.path(directory)).unwrap();
        }
        place.keep_key(&place.key);
        place
    }

    fn keep_key(&self, key: &PrivateKey) {
        let file = self.path("home/.ssh/id_ed25519");
        std::fs::write(&file, key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let public = self.key.public_key().to_openssh().unwrap();
        std::fs::write(self.path("home/.ssh/id_ed25519.pub"), public).unwrap();
    }

    /// The key is locked with this passphrase.
    pub(crate) fn lock_key(&self, passphrase: &str) {
        let mut rng = russh::keys::key::safe_rng();
        self.keep_key(&self.key.encrypt(&mut rng, passphrase).unwrap());
    }

    /// A file of it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A host that answers to this name, whose key is known.
    pub(crate) fn host(&mut self, name: &str, change: impl FnOnce(&mut Habits)) {
        self.stranger(name, change);
        let (_, host) = self.hosts.last().unwrap();
        let key = host.key.public_key().to_openssh().unwrap();
        let line = format!("[127.0.0.1]:{} {key}\n", host.port);
        let file = self.path("home/.ssh/known_hosts");
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(file, old + &line).unwrap();
    }

    /// The same with a key that is not known.
    pub(crate) fn stranger(&mut self, name: &str, change: impl FnOnce(&mut Habits)) {
        let mut habits = Habits::new(self.key.public_key());
        habits.says.push((SURVEYS, survey(name)));
        change(&mut habits);
        self.hosts.push((name.to_owned(), Host::start(habits)));
        self.configure_ssh();
    }

    /// The host of this name.
    pub(crate) fn at(&self, name: &str) -> &Host {
        let host = self.hosts.iter().find(|(host, _)| host == name);
        &host.unwrap().1
    }

    /// A program that says what `ssh -G` would, and is all there is in PATH: OpenSSH's own looks for its files where the
    /// password database says, not in $HOME.
    fn configure_ssh(&self) {
        let mut text = "#!/bin/sh\nfor host; do :; done\ncase $host in\n".to_owned();
        for (name, host) in &self.hosts {
            let _ = writeln!(text, "{name}) echo port {} ;;", host.port);
        }
        text.push_str(
            "esac\necho hostname 127.0.0.1\necho user me\necho identityfile ~/.ssh/id_ed25519\n\
             echo userknownhostsfile ~/.ssh/known_hosts\n",
        );
        let program = self.path("bin/ssh");
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A cluster.toml with all hosts, the first of which has the servers.
    pub(crate) fn configure(&self) -> String {
        let mut text = format!(
            "name = \"home\"\n[control-plane]\nhosts = [\"{}\"]\n[k3s]\nversion = \"v1.34.4+k3s1\"\n",
            self.hosts[0].0
        );
        for (name, _) in &self.hosts {
            let _ = write!(text, "[hosts.{name}]\nssh = \"{name}\"\n");
        }
        std::fs::write(self.path("work/cluster.toml"), &text).unwrap();
        text
    }

    /// The record of a cluster that was made of them.
    pub(crate) fn record(&self) {
        let config = slicer_k3s::config::parse(&self.configure(), "cluster.toml").unwrap();
        let state = State::create("home").unwrap();
        let facts: Vec<HostFacts> = self
            .hosts
            .iter()
            .map(|(name, _)| HostFacts::parse(name, &survey(name)).unwrap())
            .collect();
        let version = "v1.34.4+k3s1";
        let plan = plan::decide(&config, &state.decisions, &facts, &[], version).unwrap();
        let directory = self.path("state/slicer-k3s/home");
        state.save(&directory).unwrap();
        let mut plan: Value = serde_json::to_value(&plan).unwrap();
        plan["version"] = json!(1);
        std::fs::write(directory.join("plan.json"), plan.to_string()).unwrap();
    }

    /// slicer-k3s with these arguments.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = self.shell_command(env!("CARGO_BIN_EXE_slicer-k3s"));
        command.args(arguments.split_whitespace());
        command
    }

    fn shell_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path("work"))
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("PATH", self.path("bin"))
            .env("USER", "me")
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs it on a terminal.
    pub(crate) fn run(&self, arguments: &str) -> Pty {
        Pty::start(&self.command(arguments))
    }

    /// Runs a shell's script on a terminal; `$0` is slicer-k3s.
    pub(crate) fn shell(&self, script: &str) -> Pty {
        let mut command = self.shell_command("/bin/sh");
        let program: &Path = env!("CARGO_BIN_EXE_slicer-k3s").as_ref();
        command.arg("-c").arg(script).arg(program);
        Pty::start(&command)
    }
}
