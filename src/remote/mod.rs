//! Machines: run a script, put a file, open a tunnel. One trait, two ways (SSH, local), one wrapper that
//! separates looking from changing by type.

mod absent;
mod batch;
mod child;
mod console;
mod fetch;
mod image_tag;
mod journal;
mod local;
mod lock;
mod machine;
mod probe;
mod probe_cache;
mod put;
mod root;
mod script;
pub mod ssh;
pub mod sudo;
pub mod tunnel;

use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use child::child;
pub(crate) use console::Keyboard;
pub use image_tag::ImageTag;
#[cfg(test)]
pub(crate) use journal::testing::journal;
pub use journal::{Start, since, starts};
pub use local::Local;
pub use lock::{Acquired, Holder, LockGuard, NoteToWrite, Previous};
pub use machine::Machine;
pub use probe::Probe;
pub(crate) use probe::curl_option;
pub use put::Put;
pub use script::Script;

use crate::failure::Result;

/// A byte stream to a port that the machine can reach.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a script left behind; output is bounded and decoded leniently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit status; 128 + signal where a signal ended it.
    pub status: i32,
    /// Standard output, at most [`OUTPUT_LIMIT`] bytes.
    pub stdout: String,
    /// Standard error, at most [`OUTPUT_LIMIT`] bytes.
    pub stderr: String,
    /// Whether what is here may not be all of it: a stream had more than [`OUTPUT_LIMIT`] bytes, or its end was not seen.
    pub cut: bool,
}

impl Output {
    /// Whether the status is 0.
    pub fn ok(&self) -> bool {
        self.status == 0
    }

    /// An output that ended with `status`, decoded leniently; streams that reached [`OUTPUT_LIMIT`] are marked as cut.
    pub(crate) fn of(status: i32, stdout: &Kept, stderr: &Kept) -> Self {
        Self {
            status,
            stdout: stdout.text(),
            stderr: stderr.text(),
            cut: stdout.cut || stderr.cut,
        }
    }

    /// How an output that was cut is described: no more of it is shown.
    pub(crate) fn cut_words(&self) -> String {
        let longest = self.stdout.len().max(self.stderr.len());
        if longest < OUTPUT_LIMIT {
            return "the end of its output did not arrive".to_owned();
        }
        format!("its output was cut at {} MiB", OUTPUT_LIMIT / 1024 / 1024)
    }

    /// The last non-empty line of stderr, else of stdout: the machine's own last words.
    pub fn last_words(&self) -> &str {
        self.stderr
            .lines()
            .rev()
            .chain(self.stdout.lines().rev())
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or("no output")
    }
}

/// Most bytes kept of one output stream; more is read and dropped, and [`Output::cut`] is set.
pub const OUTPUT_LIMIT: usize = 4 * 1024 * 1024;

/// One stream's first [`OUTPUT_LIMIT`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    cut: bool,
}

impl Kept {
    /// Adds what arrived, as far as there is room.
    pub(crate) fn add(&mut self, data: &[u8]) {
        let room = OUTPUT_LIMIT.saturating_sub(self.bytes.len());
        self.cut |= data.len() > room;
        self.bytes.extend_from_slice(&data[..room.min(data.len())]);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// How to become root on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// We are root.
    Root,
    /// `sudo -n`.
    NoPassword,
    /// `sudo -S`, the password as the first line of stdin.
    Password(crate::secret::Secret),
}

/// What an attached command reads from stdin.
#[derive(Clone, PartialEq, Eq)]
pub enum Input {
    /// These bytes, then this process's own stdin.
    Own(Vec<u8>),
    /// These bytes only.
    Bytes(Vec<u8>),
    /// These bytes, and no end as long as this process waits for the command's.
    Held(Vec<u8>),
}

/// The one side-effect seam: a way to run a command line on a machine and to reach ports from it.
#[async_trait]
pub trait Remote: Send + Sync {
    /// Runs `command` (already quoted for a POSIX shell) with `stdin`, for at most `limit`.
    async fn exec(&self, command: &str, stdin: &[u8], limit: Duration) -> Result<Output>;

    /// Runs `command` with this process's own stdout and stderr, with a terminal if `tty`; its exit status.
    async fn attach(&self, command: &str, input: Input, tty: bool) -> Result<i32>;

    /// Starts `command`: what is written is its stdin after these first bytes, what is read its stdout. Dropped, it ends.
    async fn open(&self, command: &str, first: &[u8]) -> Result<Box<dyn Stream>>;

    /// Connects from the machine to `host:port`.
    async fn forward(&self, host: &str, port: u16) -> Result<Box<dyn Stream>>;

    /// Whether a command costs so much more than what it does that looks should travel together.
    fn is_far(&self) -> bool {
        false
    }
}
