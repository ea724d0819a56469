//! A command in a VM on this process's own pipes, through its agent: for VMs that nobody can log in to.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use futures_util::stream;
use http_body_util::{BodyExt as _, Empty, Limited, StreamBody};
use hyper::body::{Body, Bytes, Frame as Piece};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::exec::{Frame, Said};
use super::http::{self, Request};
use super::{Slicer, types};
use crate::escape::escape;
use crate::failure::{Code, Failure, Result};
use crate::remote::Keyboard;
use crate::url::encode;

/// What a shell says of a command whose reader went away.
const SIGPIPE: i32 = 128 + 13;

impl Slicer {
    /// Runs a command as root in a VM; a pipe on our stdin becomes its stdin, a terminal does not. Its exit status.
    pub async fn attach(&self, vm: &str, words: &[String]) -> Result<i32> {
        if std::io::stdin().is_terminal() {
            return self.tell(vm, words).await;
        }
        let to = (tokio::io::stdout(), tokio::io::stderr());
        self.attach_with(vm, words, true, keyboard(), to).await
    }

    /// Runs a command as root in a VM that reads nothing. Its exit status.
    pub async fn tell(&self, vm: &str, words: &[String]) -> Result<i32> {
        let to = (tokio::io::stdout(), tokio::io::stderr());
        self.attach_with(vm, words, false, Empty::new(), to).await
    }

    pub(super) async fn attach_with<B>(
        &self,
        vm: &str,
        words: &[String],
        stdin: bool,
        body: B,
        (mut out, mut err): (impl AsyncWrite + Unpin, impl AsyncWrite + Unpin),
    ) -> Result<i32>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let request = Request::post(&path(vm, words, stdin));
        let opened = http::open(self, &request, body);
        // A daemon may take in all of stdin before it answers: then only the end of stdin limits the wait.
        let opened = if stdin {
            opened.await
        } else {
            tokio::time::timeout(http::LIMIT, opened)
                .await
                .map_err(|_| http::late(self, http::LIMIT))?
        };
        let answer = opened.map_err(|broken| broken.failure(self))?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        if !(200..300).contains(&status) {
            let body = Limited::new(body, http::BODY_LIMIT).collect().await;
            let body = body
                .map(|body| body.to_bytes().to_vec())
                .unwrap_or_default();
            return Err(self.refused(vm, &http::Reply { status, body }));
        }
        let (mut line, mut exit) = (Vec::new(), None);
        while let Some(piece) = body.frame().await {
            let Ok(piece) = piece else {
                return Err(broken(vm));
            };
            let bytes = piece.into_data().unwrap_or_default();
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if line.len() > http::BODY_LIMIT {
                    let failure = self.failure(Code::SlicerApi);
                    return Err(failure.because("a line without an end"));
                }
                if line.ends_with(b"\n") {
                    let said = read(&std::mem::take(&mut line));
                    exit = end(&said).or(exit);
                    if show(&said, &mut out, &mut err).await.is_err() {
                        return Ok(SIGPIPE);
                    }
                }
            }
        }
        let said = read(&line);
        let _ = show(&said, &mut out, &mut err).await;
        end(&said).or(exit).ok_or_else(|| broken(vm))
    }

    fn refused(&self, vm: &str, reply: &http::Reply) -> Failure {
        let host = self.host.name();
        match reply.status {
            404 => Failure::new(Code::Vm, format!("there is no VM called {vm} on {host}"))
                .hint("slicer-k3s status lists VMs and Nodes"),
            400 | 409 => Failure::new(Code::Vm, format!("{vm} on {host} takes no command"))
                .because(types::error_text(&reply.body))
                .hint(format!("slicer-k3s logs {vm} --console")),
            _ => match self.accept(reply) {
                Err(failure) => failure,
                Ok(_) => self.failure(Code::SlicerApi),
            },
        }
    }
}

/// Untyped frames tell 0 all along: one that carries output is not the last.
fn end(said: &Said) -> Option<i32> {
    let exit = said.exit?;
    let last = exit != 0 || (said.stdout.is_empty() && said.stderr.is_empty());
    last.then(|| i32::try_from(exit).unwrap_or(i32::MAX))
}

fn broken(vm: &str) -> Failure {
    Failure::new(Code::Vm, format!("the connection to {vm} broke"))
        .because("the command's exit status did not arrive")
        .hint("run again; slicer-k3s status tells whether the VM is still there")
}

/// The user and group are always said: versions differ in what they take when nothing is.
fn path(vm: &str, words: &[String], stdin: bool) -> String {
    let mut path = format!(
        "/vm/{}/exec?uid=0&gid=0&stdin={stdin}&stdout=true&stderr=true&stdio=base64",
        encode(vm)
    );
    for (word, name) in words
        .iter()
        .zip(std::iter::once("cmd").chain(std::iter::repeat("args")))
    {
        let _ = write!(path, "&{name}={}", encode(word));
    }
    path
}

/// Our stdin as a body.
fn keyboard() -> impl Body<Data = Bytes, Error = Infallible> + Send + 'static {
    StreamBody::new(stream::unfold(Keyboard::open(), async |mut keyboard| {
        let bytes = keyboard.next().await?;
        Some((Ok(Piece::data(Bytes::from(bytes))), keyboard))
    }))
}

fn read(line: &[u8]) -> Said {
    serde_json::from_slice::<Frame>(line)
        .map(Frame::read)
        .unwrap_or_default()
}

/// An exit status says itself; why a command did not even start must be told.
async fn show(
    said: &Said,
    out: &mut (impl AsyncWrite + Unpin),
    err: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let why = said.error.as_deref();
    let why = why.filter(|why| !why.starts_with("exit status"));
    let why = why.map(|why| format!("{}\n", escape(why)));
    put(out, &said.stdout).await?;
    put(err, &said.stderr).await?;
    put(err, why.unwrap_or_default().as_bytes()).await
}

async fn put(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    to.write_all(bytes).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::testing::{Fake, machine};

    async fn ended(frames: &str) -> (Result<i32>, String, String) {
        let fake = Fake::new().says("POST /vm/a-1/exec", frames);
        let slicer = Slicer {
            host: Arc::new(machine("n100", fake.clone())),
            group: "a".into(),
            address: ([127, 0, 0, 1].into(), 8081),
            token: crate::secret::Secret::new("t"),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let words = ["sh".to_owned(), "-c".to_owned(), "a b".to_owned()];
        let code = slicer
            .attach_with("a-1", &words, false, Empty::new(), (&mut out, &mut err))
            .await;
        assert!(fake.was_told("cmd=sh&args=-c&args=a%20b"));
        assert!(fake.was_told("uid=0&gid=0"));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(out), text(err))
    }

    #[tokio::test]
    async fn both_streams_and_the_exit_status_come_through() {
        let typed = "{\"type\":\"started\",\"exit_code\":0}\n{\"type\":\"stdout\",\"data\":\"aGk=\",\"encoding\":\"base64\"}\n\
                     {\"type\":\"exit\",\"exit_code\":3,\"error\":\"exit status 3\"}";
        let (code, out, err) = ended(typed).await;
        assert_eq!((code.unwrap(), out.as_str(), err.as_str()), (3, "hi", ""));
        let untyped = "{\"stderr\":\"oops\",\"exit_code\":0}\n{\"exit_code\":0}\n";
        let (code, _, err) = ended(untyped).await;
        assert_eq!((code.unwrap(), err.as_str()), (0, "oops"));
        let absent = "{\"error\":\"exec: not found\u{1b}\",\"exit_code\":127}\n"
            .replace('\u{1b}', "\\u001b");
        let (code, _, err) = ended(&absent).await;
        assert_eq!(code.unwrap(), 127);
        assert_eq!(err, "exec: not found\\u{1b}\n");
    }

    /// A connection lost in mid-command must not look like success, though every untyped frame says 0.
    #[tokio::test]
    async fn a_command_whose_end_did_not_arrive_has_no_exit_status() {
        for frames in [
            "",
            "{\"type\":\"stdout\",\"data\":\"x\"}\n",
            "{\"stdout\":\"x\",\"exit_code\":0}\n",
        ] {
            assert_eq!(
                ended(frames).await.0.unwrap_err().code,
                Code::Vm,
                "{frames}"
            );
        }
    }
}
