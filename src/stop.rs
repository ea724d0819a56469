//! Ctrl-C, SIGTERM and SIGHUP: the first ends the run in an orderly way, the second ends the program at once; either way the
//! terminal is as it was.

use std::io::IsTerminal as _;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::failure::Code;
use crate::terminal;

/// Whoever has it tells the end of its run before the program goes.
static LAST_WORDS: Semaphore = Semaphore::const_new(1);

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal was closed.
    HangUp,
}

impl Request {
    /// The kind of failure that a run then ends with.
    pub fn code(self) -> Code {
        match self {
            Self::Interrupt => Code::Interrupted,
            Self::Terminate | Self::HangUp => Code::Terminated,
        }
    }

    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        self.code().exit_code()
    }

    /// What stopped the run, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP: its terminal was closed",
        }
    }
}

/// Signals that ask to stop.
pub struct Requests {
    interrupts: Option<Signal>,
    terminations: Option<Signal>,
    hang_ups: Option<Signal>,
}

impl Requests {
    /// From now on.
    pub fn listen() -> Self {
        Self {
            interrupts: signal(SignalKind::interrupt()).ok(),
            terminations: signal(SignalKind::terminate()).ok(),
            // `nohup` means that it is to be ignored; to listen would undo that.
            hang_ups: if hang_up_is_ignored() {
                None
            } else {
                signal(SignalKind::hangup()).ok()
            },
        }
    }

    /// The next one.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            () = received(&mut self.interrupts) => Request::Interrupt,
            () = received(&mut self.terminations) => Request::Terminate,
            () = received(&mut self.hang_ups) => Request::HangUp,
        }
    }
}

/// Whether this process was started with SIGHUP ignored; where the system does not tell, whether it has no terminal to lose.
fn hang_up_is_ignored() -> bool {
    match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => ignores_hang_up(&status),
        Err(_) => !std::io::stdin().is_terminal(),
    }
}

/// Source: `proc_pid_status(5)`, `SigIgn`: a mask in hexadecimal; SIGHUP, signal 1, is its lowest bit.
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

async fn received(signals: &mut Option<Signal>) {
    let received = match signals {
        Some(signals) => signals.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Until it is dropped, a request to stop is answered by its holder alone.
pub async fn answer_myself() -> Option<SemaphorePermit<'static>> {
    LAST_WORDS.acquire().await.ok()
}

/// The next request, once nobody else answers it.
pub async fn asked(mut requests: Requests) -> Request {
    let request = requests.next().await;
    drop(LAST_WORDS.acquire().await);
    request
}

/// Ends the program at the second request.
#[expect(
    clippy::exit,
    reason = "a run that does not end at the first request may not end at all"
)]
pub async fn at_once(mut requests: Requests) {
    requests.next().await;
    let request = requests.next().await;
    terminal::restore();
    std::process::exit(request.exit_code().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `nohup slicer-k3s init` must outlive its terminal.
    #[test]
    fn an_ignored_hang_up_stays_ignored() {
        let status = |mask: &str| format!("Name:\tx\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        assert!(ignores_hang_up(&status("0000000000001001")));
        assert!(!ignores_hang_up(&status("0000000000001000")));
        assert!(!ignores_hang_up(""));
    }
}
