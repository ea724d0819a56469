//! This very machine (`ssh = "local"`): the same steps, without SSH to oneself.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::console::Keyboard;
use super::{Input, Kept, Output, Remote, Stream};
use crate::failure::{Code, Failure, Result};

/// Runs commands as child processes.
pub struct Local;

#[async_trait]
impl Remote for Local {
    async fn exec(&self, command: &str, stdin: &[u8], limit: Duration) -> Result<Output> {
        tokio::time::timeout(limit, run(command, stdin))
            .await
            .map_err(|_| {
                Failure::new(Code::Command, "a command on this machine took too long")
                    .because(format!("no end after {} s", limit.as_secs()))
            })?
    }

    async fn attach(&self, command: &str, input: Input, _tty: bool) -> Result<i32> {
        let (first, own, held) = match input {
            Input::Own(first) => (first, true, false),
            Input::Bytes(bytes) => (bytes, false, false),
            Input::Held(first) => (first, false, true),
        };
        let mut child = super::child("/bin/sh");
        child.arg("-c").arg(command);
        if own && first.is_empty() {
            // The terminal itself, with everything that makes it one.
            return Ok(code(child.status().await.map_err(broken)?));
        }
        let mut child = child
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(broken)?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                let mut open = stdin.write_all(&first).await.is_ok();
                if own {
                    let mut keyboard = Keyboard::open();
                    while open && let Some(bytes) = keyboard.next().await {
                        open = stdin.write_all(&bytes).await.is_ok();
                    }
                }
                if held {
                    // Dropped with this future: that is what the command waits for.
                    std::future::pending::<()>().await;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = child.wait() => Ok(code(status.map_err(broken)?)),
            () = feed => Ok(0),
        }
    }

    async fn open(&self, command: &str, first: &[u8]) -> Result<Box<dyn Stream>> {
        let mut child = super::child("/bin/sh")
            .arg("-c")
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(broken)?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(broken(std::io::ErrorKind::BrokenPipe.into()));
        };
        // It ends when its stdin does; until then somebody must wait for it.
        tokio::spawn(async move { child.wait().await });
        input.write_all(first).await.map_err(broken)?;
        Ok(Box::new(tokio::io::join(output, input)))
    }

    async fn forward(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host, port)).await.map_err(|error| {
            Failure::new(
                Code::SshUnreachable,
                format!("cannot connect to {host}:{port}"),
            )
            .because(error)
        })?;
        Ok(Box::new(stream))
    }
}

async fn run(command: &str, stdin: &[u8]) -> Result<Output> {
    let mut child = super::child("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(broken)?;
    let (input, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut input) = input {
            // A command that does not read its stdin closes it: not a failure.
            let _ = input.write_all(stdin).await;
        }
    };
    let ((), stdout, stderr, status) = tokio::join!(feed, drain(out), drain(err), child.wait());
    Ok(Output::of(code(status.map_err(broken)?), &stdout, &stderr))
}

async fn drain(stream: Option<impl AsyncRead + Unpin>) -> Kept {
    let mut kept = Kept::default();
    if let Some(mut stream) = stream {
        let mut buffer = vec![0_u8; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            kept.add(&buffer[..count]);
        }
    }
    kept
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn broken(error: std::io::Error) -> Failure {
    Failure::new(Code::Command, "cannot run a command on this machine").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::OUTPUT_LIMIT;

    #[tokio::test]
    async fn status_and_both_streams_come_back() {
        let out = Local
            .exec(
                "cat; echo oops >&2; exit 7",
                b"hello",
                Duration::from_secs(5),
            )
            .await
            .unwrap();
        assert_eq!(
            (out.status, out.stdout.as_str(), out.last_words()),
            (7, "hello", "oops")
        );
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_at_its_limit() {
        let failure = Local
            .exec("sleep 60", b"", Duration::from_millis(100))
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::Command);
    }

    /// A list of 700 pods was parsed up to the bound, and what was missing of it was not mentioned.
    #[tokio::test]
    async fn an_output_that_reaches_the_bound_is_marked_as_cut() {
        for (bytes, cut) in [(OUTPUT_LIMIT, false), (OUTPUT_LIMIT + 1, true)] {
            let command = format!("head -c {bytes} /dev/zero");
            let out = Local.exec(&command, b"", Duration::from_secs(20)).await;
            let out = out.unwrap();
            assert_eq!((out.stdout.len(), out.cut), (OUTPUT_LIMIT, cut));
        }
    }
}
