//! A real sshd with a temporary home around it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use slicer_k3s::failure::{Failure, Result};
use slicer_k3s::question::{Ask, Typed};
use slicer_k3s::remote::Remote;
use slicer_k3s::remote::ssh::{HostTarget, KeyPolicy, Surroundings, connect_host_in};
use slicer_k3s::secret::Secret;

const SSHD: &str = "/usr/sbin/sshd";

/// Keys, configuration, known_hosts, and the server; all gone when dropped.
pub(crate) struct House {
    directory: tempfile::TempDir,
    server: Child,
    port: u16,
    user: String,
    around: Surroundings,
}

/// What the person at the terminal says.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Nobody,
    Yes,
    No,
    Secret(&'static str),
}

#[async_trait]
impl Ask for Answer {
    async fn confirm(&self, _: &str) -> Result<Option<bool>> {
        Ok(match self {
            Self::Yes => Some(true),
            Self::No => Some(false),
            _ => None,
        })
    }
    async fn secret(&self, _: &str) -> Result<Option<Typed>> {
        Ok(match self {
            Self::Secret(text) => Some(Typed::new(Secret::new(*text))),
            _ => None,
        })
    }
}

impl House {
    /// Starts a server with these lines added to its configuration, or says why it cannot.
    pub(crate) fn open(config: &str) -> std::result::Result<Self, String> {
        if !Path::new(SSHD).exists() {
            return Err(format!(
                "{SSHD} does not exist (apt-get install openssh-server)"
            ));
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        for kind in ["ed25519", "ecdsa"] {
            ssh_keygen(&[
                "-q",
                "-t",
                kind,
                "-N",
                "",
                "-C",
                "",
                "-f",
                &at(&format!("host_{kind}")),
            ]);
        }
        ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &at("id")]);
        std::fs::copy(at("id.pub"), at("authorized_keys")).unwrap();
        // sshd as root wants its empty directory; a package's service makes it at boot.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nMaxStartups 100\n{config}",
            at("host_ed25519"),
            at("host_ecdsa"),
            at("authorized_keys"),
        );
        std::fs::write(at("sshd_config"), text).unwrap();
        let log = std::fs::File::create(at("sshd.log")).unwrap();
        let server = Command::new(SSHD)
            .args(["-D", "-e", "-f", &at("sshd_config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let user =
            String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let around = Surroundings {
            config: Some(directory.path().join("ssh_config")),
            agent: None,
            home: directory.path().to_owned(),
            user: user.trim().to_owned(),
            ask: Arc::new(Answer::Nobody),
        };
        let house = Self {
            server,
            port,
            user: user.trim().to_owned(),
            around,
            directory,
        };
        house.configure("");
        house.write_known_hosts(&format!(
            "[127.0.0.1]:{port} {}\n",
            house.public_key("ed25519")
        ));
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(house.path("sshd.log")).unwrap_or_default();
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "sshd does not start: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(house)
    }

    /// Writes the user's ssh_config: these lines, then the house's own for everybody.
    pub(crate) fn configure(&self, lines: &str) {
        let text = format!(
            "{lines}\nHost *\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n  IdentityFile {}\n",
            self.path("known_hosts").display(),
            self.path("id").display(),
        );
        std::fs::write(self.path("ssh_config"), text).unwrap();
    }

    /// A file of the house.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The host as cluster.toml would name it.
    pub(crate) fn target(&self) -> HostTarget {
        HostTarget {
            name: "pi".into(),
            target: format!("{}@127.0.0.1", self.user),
            port: Some(self.port),
            ..HostTarget::default()
        }
    }

    pub(crate) async fn connect(&self) -> Result<Box<dyn Remote>> {
        self.connect_as(&self.target(), KeyPolicy::default()).await
    }

    pub(crate) async fn connect_as(
        &self,
        target: &HostTarget,
        policy: KeyPolicy,
    ) -> Result<Box<dyn Remote>> {
        connect_host_in(target, &policy, &self.around).await
    }

    /// This one must get in.
    pub(crate) async fn lets_in(&self, target: &HostTarget) {
        let entered = self.connect_as(target, KeyPolicy::default()).await;
        entered.map(drop).unwrap();
    }

    /// The failure of a plain connection.
    pub(crate) async fn refused(&self) -> Failure {
        self.connect().await.map(drop).unwrap_err()
    }

    /// The same house with a person at the terminal.
    pub(crate) fn asking(&self, answer: Answer) -> Visit<'_> {
        Visit {
            house: self,
            around: Surroundings {
                ask: Arc::new(answer),
                ..self.around.clone()
            },
        }
    }

    /// The same house with an agent.
    pub(crate) fn with_agent(&self, agent: &Agent) -> Visit<'_> {
        Visit {
            house: self,
            around: Surroundings {
                agent: Some(agent.socket.clone()),
                ..self.around.clone()
            },
        }
    }

    /// An agent that holds one of the house's keys.
    pub(crate) fn agent(&self, key: &str) -> Agent {
        let socket = self.path("agent");
        let server = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Agent { socket, server };
        let start = Instant::now();
        while !agent.socket.exists() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(self.path(key))
            .env("SSH_AUTH_SOCK", &agent.socket)
            .status()
            .unwrap();
        assert!(added.success());
        agent
    }

    /// Lets another key in.
    pub(crate) fn authorize(&self, line: &str) {
        let file = self.path("authorized_keys");
        let old = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{old}{line}\n")).unwrap();
    }

    pub(crate) fn write_known_hosts(&self, text: &str) {
        std::fs::write(self.path("known_hosts"), text).unwrap();
    }

    pub(crate) fn known_hosts(&self) -> String {
        std::fs::read_to_string(self.path("known_hosts")).unwrap()
    }

    /// Type and key of the server's host key of this kind.
    pub(crate) fn public_key(&self, kind: &str) -> String {
        std::fs::read_to_string(self.path(&format!("host_{kind}.pub")))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// A host key that is not the server's.
    pub(crate) fn other_public_key(&self) -> String {
        let file = self.path("other");
        ssh_keygen(&[
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "",
            "-f",
            file.to_str().unwrap(),
        ]);
        std::fs::read_to_string(self.path("other.pub"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// OpenSSH's own fingerprint of the server's Ed25519 key.
    pub(crate) fn fingerprint(&self) -> String {
        self.fingerprint_of("ed25519")
    }

    pub(crate) fn fingerprint_of(&self, kind: &str) -> String {
        let file = self.path(&format!("host_{kind}.pub"));
        let out = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(file)
            .output()
            .unwrap();
        String::from_utf8(out.stdout)
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .to_owned()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A house seen by somebody.
pub(crate) struct Visit<'a> {
    house: &'a House,
    around: Surroundings,
}

impl Visit<'_> {
    pub(crate) async fn connect(&self) -> Result<Box<dyn Remote>> {
        connect_host_in(&self.house.target(), &KeyPolicy::default(), &self.around).await
    }
}

/// A running ssh-agent.
pub(crate) struct Agent {
    socket: PathBuf,
    server: Child,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub(crate) fn ssh_keygen(words: &[&str]) {
    let out = Command::new("ssh-keygen")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}
