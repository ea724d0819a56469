//! What a request asks to be run, and how what it says is spelt.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{failure::Failure, query::Query};
use crate::{host::variant::Variant, machine::Entry, time};

/// What a request asks to be run.
pub(crate) struct Order {
    /// The command as it is run.
    pub(crate) entry: Entry,
    /// The command as it was given.
    pub(crate) cmd: String,
    /// Its arguments as they were given.
    pub(crate) args: Vec<String>,
    form: Form,
    /// The streams that the client does not want.
    unwanted: Vec<&'static str>,
}

/// How frames are spelt.
struct Form {
    base64: bool,
    typed: bool,
}

impl Order {
    /// From a query.
    pub(crate) fn read(query: &Query, variant: &Variant) -> Result<Self, Failure> {
        let cmd = query
            .get("cmd")
            .ok_or_else(|| Failure::new(400, "cmd is required"))?
            .to_owned();
        let args = query.all("args");
        let default = variant
            .get("exec-uid")
            .and_then(|uid| uid.parse().ok())
            .unwrap_or(0);
        let uid = query.number("uid")?.unwrap_or(default);
        let words: Vec<String> = match query.get("shell") {
            None => std::iter::once(cmd.clone())
                .chain(args.iter().cloned())
                .collect(),
            Some(shell) => {
                let line = std::iter::once(cmd.clone()).chain(args.iter().map(|arg| quote(arg)));
                vec![
                    shell.to_owned(),
                    "-c".to_owned(),
                    line.collect::<Vec<_>>().join(" "),
                ]
            }
        };
        let mut unwanted = Vec::new();
        for stream in ["stdout", "stderr"] {
            if !query.flag(stream, true)? {
                unwanted.push(stream);
            }
        }
        let stdio = query.get("stdio").unwrap_or("text");
        if !matches!(stdio, "text" | "base64") {
            return Err(Failure::new(400, format!("invalid stdio: `{stdio}`")));
        }
        Ok(Self {
            entry: Entry {
                argv: words.into_iter().map(Into::into).collect(),
                uid,
                gid: query.number("gid")?.unwrap_or(uid),
                cwd: query.get("cwd").map(str::to_owned),
                env: query.all("env"),
            },
            cmd,
            args,
            form: Form {
                base64: stdio == "base64",
                typed: !variant.is("exec-frames", "untyped"),
            },
            unwanted,
        })
    }

    /// Whether the client wants this stream.
    pub(crate) fn wants(&self, stream: &str) -> bool {
        !self.unwanted.contains(&stream)
    }

    /// Whether output is sent as base64.
    pub(crate) fn base64(&self) -> bool {
        self.form.base64
    }

    /// Whether frames say what they are.
    pub(crate) fn typed(&self) -> bool {
        self.form.typed
    }

    /// The same with typed frames: agents that know commands in the background have them.
    pub(crate) fn with_types(mut self) -> Self {
        self.form.typed = true;
        self
    }

    /// What a pipe says, as this order spells it.
    pub(crate) fn pieces<R>(&self, pipe: Option<R>) -> Pieces<R> {
        Pieces {
            pipe,
            base64: self.form.base64,
            kept: Vec::new(),
        }
    }

    /// Bytes as JSON's text.
    pub(crate) fn text(&self, bytes: &[u8]) -> String {
        if self.form.base64 {
            STANDARD.encode(bytes)
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        }
    }

    /// A frame of what the command says.
    pub(crate) fn frame(&self, stream: &str, bytes: &[u8]) -> Value {
        let mut frame = if self.form.typed {
            json!({"timestamp": now(), "type": stream, "data": self.text(bytes)})
        } else {
            json!({"timestamp": now(), (stream): self.text(bytes)})
        };
        if self.form.base64 {
            frame["encoding"] = json!("base64");
        }
        frame["exit_code"] = json!(0);
        frame
    }

    /// The last frame: how it ended.
    pub(crate) fn last(&self, end: End) -> Value {
        let mut frame = json!({"timestamp": now(), "exit_code": end.code});
        if self.form.typed {
            frame["type"] = json!("exit");
            frame["ended_at"] = json!(now());
        }
        if let Some(signal) = end.signal {
            frame["signal"] = json!(signal.to_string());
        }
        if let Some(error) = self.error(end) {
            frame["error"] = json!(error);
        }
        frame
    }

    /// What is wrong with the end, if anything is.
    pub(crate) fn error(&self, end: End) -> Option<String> {
        match end.code {
            0 => None,
            127 => Some(format!(
                "exec: {:?}: executable file not found in $PATH",
                self.cmd
            )),
            code => Some(format!("exit status {code}")),
        }
    }
}

/// The first frame: that a command runs, as which process of the VM.
pub(crate) fn started(pid: u32, at: &str) -> Value {
    json!({"timestamp": now(), "type": "started", "pid": pid, "started_at": at, "exit_code": 0})
}

/// How a command ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// Its exit code, 128 + the signal when one killed it.
    pub(crate) code: i32,
    /// The signal.
    pub(crate) signal: Option<i32>,
}

impl End {
    /// From what the kernel says.
    pub(crate) fn of(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = status.signal();
        Self {
            code: status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0)),
            signal,
        }
    }
}

/// One word for a POSIX shell.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Now, as an agent gives it.
pub(crate) fn now() -> String {
    time::agent_time(time::nanos_now())
}

/// What a pipe says, in pieces that can be spelt: as text, no piece ends within a character.
pub(crate) struct Pieces<R> {
    pipe: Option<R>,
    base64: bool,
    /// The start of a character that the next read completes.
    kept: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Pieces<R> {
    /// The next piece; `None` at the pipe's end.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let pipe = self.pipe.as_mut()?;
            let mut piece = std::mem::take(&mut self.kept);
            let begun = piece.len();
            piece.resize(begun + (16 << 10), 0);
            let read = pipe.read(&mut piece[begun..]).await.unwrap_or(0);
            piece.truncate(begun + read);
            if read == 0 {
                self.pipe = None;
            } else if !self.base64 {
                self.kept = piece.split_off(whole_characters(&piece));
            }
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }
}

/// How many bytes end with a whole character; what is not UTF-8 at all counts as whole.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}
