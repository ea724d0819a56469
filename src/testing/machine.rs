//! Machines that answer as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::remote::{Input, Machine, Output, Remote, Stream, Sudo};

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
