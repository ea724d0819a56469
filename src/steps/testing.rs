//! A plan and a fleet for the tests of steps: machines that answer from a table and remember what they were told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::plan::{Adopted, Arch, Autoscaler, Daemon, Host, K3s, Plan, Role, Server};
use crate::remote::{Input, Machine, Output, Remote, Stream, Sudo};
use crate::secret::Secret;
use crate::state::Secrets;
use crate::world::World;

/// A machine that answers by the first entry whose text is part of the command, else with nothing and status 0, and as
/// the API of a cluster that is ready and holds nothing.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    table: Arc<Mutex<Vec<(String, Output)>>>,
    first: Arc<Mutex<Vec<(String, Output)>>>,
    told: Arc<Mutex<Vec<(String, String)>>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Commands that contain `part` print `stdout`.
    pub(crate) fn says(self, part: &str, stdout: &str) -> Self {
        self.answers(part, 0, stdout)
    }

    /// Commands that contain `part` end with `status` and print `stdout`.
    pub(crate) fn answers(self, part: &str, status: i32, stdout: &str) -> Self {
        let output = Output {
            status,
            stdout: stdout.to_owned(),
            ..Output::default()
        };
        self.table.lock().unwrap().push((part.to_owned(), output));
        self
    }

    /// Commands that contain `part` end with `status` and say `stderr`.
    pub(crate) fn refuses(self, part: &str, status: i32, stderr: &str) -> Self {
        let output = Output {
            status,
            stderr: stderr.to_owned(),
            ..Output::default()
        };
        self.table.lock().unwrap().push((part.to_owned(), output));
        self
    }

    /// The first command that contains `part` prints `stdout`, before anything else is looked up.
    pub(crate) fn says_first(self, part: &str, stdout: &str) -> Self {
        let output = Output {
            stdout: stdout.to_owned(),
            ..Output::default()
        };
        self.first.lock().unwrap().push((part.to_owned(), output));
        self
    }

    /// Every answer with one text in the place of another.
    pub(crate) fn replacing(self, text: &str, by: &str) -> Self {
        for (_, output) in self.table.lock().unwrap().iter_mut() {
            output.stdout = output.stdout.replace(text, by);
        }
        self
    }

    /// Every command with its stdin, in order.
    pub(crate) fn told(&self) -> Vec<(String, String)> {
        self.told.lock().unwrap().clone()
    }

    /// Whether a command contained `part`.
    pub(crate) fn was_told(&self, part: &str) -> bool {
        self.told()
            .iter()
            .any(|(command, _)| command.contains(part))
    }
}

impl Fake {
    fn serves(&self) -> bool {
        let table = self.table.lock().unwrap();
        let verbs = ["GET /", "POST /", "PATCH /", "DELETE /"];
        table
            .iter()
            .any(|(part, _)| verbs.iter().any(|verb| part.starts_with(verb)))
    }

    async fn answer_http(&self, mut stream: tokio::io::DuplexStream) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else {
                return;
            };
            request.push(byte);
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let line = request.lines().next().unwrap_or_default();
        let line = line.trim_end_matches(" HTTP/1.1");
        let headers = request.lines().filter_map(|line| line.split_once(": "));
        let mut tokens = headers.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let token = tokens.next().map_or("", |(_, token)| token);
        let line = format!("{line} {token}");
        let output = self.exec(&line, b"", Duration::ZERO).await.unwrap();
        let status = if output.status == 0 {
            200
        } else {
            output.status
        };
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
            output.stdout.len(),
            output.stdout
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[async_trait]
impl Remote for Fake {
    async fn exec(&self, command: &str, stdin: &[u8], _: Duration) -> Result<Output> {
        let stdin = String::from_utf8_lossy(stdin).into_owned();
        self.told.lock().unwrap().push((command.to_owned(), stdin));
        let mut first = self.first.lock().unwrap();
        if let Some(n) = first.iter().position(|(part, _)| command.contains(part)) {
            return Ok(first.remove(n).1);
        }
        let table = self.table.lock().unwrap();
        let entry = table.iter().find(|(part, _)| command.contains(part));
        Ok(entry.map_or_else(|| unsaid(command), |(_, output)| output.clone()))
    }

    async fn attach(&self, _: &str, _: Input, _: bool) -> Result<i32> {
        Ok(0)
    }

    async fn open(&self, command: &str, _: &[u8]) -> Result<Box<dyn Stream>> {
        Err(Failure::new(
            Code::Command,
            format!("nobody talks here: {command}"),
        ))
    }

    /// An HTTP server that answers a request line with its token (`GET /nodes Bearer tok`) by the same table, where another
    /// status than 0 is HTTP's; without an entry nobody listens.
    async fn forward(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        if !self.serves() {
            return Err(Failure::new(
                Code::SshUnreachable,
                format!("nobody at {host}:{port}"),
            ));
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let fake = self.clone();
        tokio::spawn(async move { fake.answer_http(theirs).await });
        Ok(Box::new(ours))
    }
}

/// What the API of a cluster that runs and is empty answers; nothing to anything else.
fn unsaid(command: &str) -> Output {
    let stdout = if !command.contains("client-admin") {
        ""
    } else if command.contains("/readyz") {
        "ok"
    } else if command.contains("limit=") {
        r#"{"kind":"List","metadata":{},"items":[]}"#
    } else {
        NOT_FOUND
    };
    Output {
        stdout: stdout.to_owned(),
        ..Output::default()
    }
}

/// What the API answers where there is no such object, or no such kind.
pub(crate) const NOT_FOUND: &str =
    r#"{"kind":"Status","status":"Failure","message":"not found","code":404}"#;

/// A machine that never answers.
pub(crate) struct Hangs;

#[async_trait]
impl Remote for Hangs {
    async fn exec(&self, _: &str, _: &[u8], _: Duration) -> Result<Output> {
        std::future::pending().await
    }

    async fn attach(&self, _: &str, _: Input, _: bool) -> Result<i32> {
        std::future::pending().await
    }

    async fn open(&self, _: &str, _: &[u8]) -> Result<Box<dyn Stream>> {
        std::future::pending().await
    }

    async fn forward(&self, _: &str, _: u16) -> Result<Box<dyn Stream>> {
        std::future::pending().await
    }
}

pub(crate) fn machine(name: &str, fake: Fake) -> Machine {
    Machine::new(name, Box::new(fake), Sudo::Root)
}

/// A world whose hosts and servers are these.
pub(crate) fn world(machines: &[(&str, &Fake)]) -> World {
    let plan = plan();
    let make = |name: &str, fake: &Fake| Arc::new(machine(name, fake.clone()));
    let hosts: HashMap<_, _> = machines
        .iter()
        .filter(|(name, _)| plan.host(name).is_some())
        .map(|(name, fake)| ((*name).to_owned(), make(name, fake)))
        .collect();
    let world = World::new(plan, secrets(), hosts);
    for (name, fake) in machines {
        if world.plan.servers.iter().any(|server| server.name == *name) {
            world.put_server(name, make(name, fake));
        }
    }
    world
}

pub(crate) fn secrets() -> Secrets {
    Secrets {
        server_token: Secret::new("5e7ve7"),
        agent_token: Secret::new("a9e47"),
        ssh_private_key: Secret::new("PRIVATE"),
        ssh_public_key: "ssh-ed25519 AAAA cluster".into(),
        retired: crate::state::Retired::default(),
        former: Vec::new(),
    }
}

fn host(name: &str, last: u8) -> Host {
    Host {
        name: name.into(),
        lan_address: [192, 168, 1, last].into(),
        behind: None,
        arch: Arch::X86_64,
        licence_file: Some("/home/alex/.slicer/LICENSE".into()),
        slicer_installed: true,
    }
}

fn daemon(group: &str, host: &str, role: Role, third: u8, port: u16) -> Daemon {
    let servers = role == Role::ControlPlane;
    Daemon {
        group: group.into(),
        host: host.into(),
        role,
        cidr: format!("192.168.{third}.0/24").parse().unwrap(),
        api_bind: if servers {
            [127, 0, 0, 1]
        } else {
            [0, 0, 0, 0]
        }
        .into(),
        api_port: port,
        tap_prefix: format!("t{third}x"),
        count: if servers { 3 } else { 0 },
        cpu: 2,
        ram_gb: 4,
        storage_gb: 25,
        image: "ghcr.io/openfaasltd/slicer-systemd:6.1.90-x86_64-latest".into(),
        min: 0,
        max: 4,
        priority: 0,
        shares: None,
        adopted: None,
    }
}

/// A daemon as a person set it up, in a home directory.
pub(crate) fn adopted(daemon: &Daemon) -> Adopted {
    Adopted {
        directory: "/home/alex".into(),
        file: format!("/home/alex/{}.yaml", daemon.group),
        unit: None,
        count: daemon.count,
        cpu: daemon.cpu,
        ram_gb: daemon.ram_gb,
        storage_gb: daemon.storage_gb,
    }
}

/// The same with the third server on ryzen.
pub(crate) fn spread() -> Plan {
    let mut plan = plan();
    let there = daemon("k3s-cp-b", "ryzen", Role::ControlPlane, 138, 8081);
    let third = &mut plan.servers[2];
    third.host.clone_from(&there.host);
    third.group.clone_from(&there.group);
    third.address = [192, 168, 138, 2].into();
    plan.daemons[1] = there;
    plan
}

/// The same with one daemon on n100 for its servers and its agents.
pub(crate) fn shared() -> Plan {
    let mut plan = plan();
    let (port, bind) = (plan.daemons[0].api_port, [0, 0, 0, 0].into());
    plan.daemons[0].api_bind = bind;
    plan.daemons[2].api_port = port;
    plan.daemons[2].shares = Some("k3s-cp".into());
    plan
}

/// Three servers on n100, workers on ryzen and on n100 itself.
pub(crate) fn plan() -> Plan {
    Plan {
        cluster: "home".into(),
        hosts: vec![host("n100", 11), host("ryzen", 12)],
        daemons: vec![
            daemon("k3s-cp", "n100", Role::ControlPlane, 137, 8080),
            daemon("k3s-agents-1", "ryzen", Role::Workers, 138, 8081),
            daemon("k3s-agents-2", "n100", Role::Workers, 139, 8082),
        ],
        servers: (1_u8..=3)
            .map(|n| Server {
                name: format!("k3s-cp-{n}"),
                group: "k3s-cp".into(),
                host: "n100".into(),
                address: [192, 168, 137, n + 1].into(),
            })
            .collect(),
        k3s: K3s {
            version: "v1.34.4+k3s1".into(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            disable: vec!["traefik".into(), "servicelb".into()],
            tls_san: vec!["k3s.example".into()],
            taint: false,
            addons_on_servers: true,
            plain_secrets: false,
            registries: serde_json::Map::new(),
            environment: std::collections::BTreeMap::new(),
            extra: serde_json::Map::new(),
        },
        autoscaler: Autoscaler {
            chart_repo: "https://kubernetes.github.io/autoscaler".into(),
            chart_version: "9.52.1".into(),
            image: "ghcr.io/openfaasltd/cluster-autoscaler-slicer".into(),
            tag: "latest".into(),
            digest: None,
            expander: "random".into(),
            args: serde_json::Map::new(),
            values: serde_json::Map::new(),
        },
        ssh_keys: vec!["ssh-ed25519 BBBB alex".into()],
        absent: Vec::new(),
        away: Vec::new(),
        reasons: Vec::new(),
        founded: None,
    }
}
