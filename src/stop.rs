//! Ctrl-C and SIGTERM: the first ends the run in an orderly way, the second ends the program at once; either way the
//! terminal is as it was.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::failure::Code;

/// Whoever has it tells the end of its run before the program goes.
static LAST_WORDS: Semaphore = Semaphore::const_new(1);

/// Signals that ask to stop.
pub struct Requests {
    interrupts: Option<Signal>,
    terminations: Option<Signal>,
}

impl Requests {
    /// From now on.
    pub fn listen() -> Self {
        Self {
            interrupts: signal(SignalKind::interrupt()).ok(),
            terminations: signal(SignalKind::terminate()).ok(),
        }
    }

    /// The next one.
    pub async fn next(&mut self) -> Code {
        tokio::select! {
            () = received(&mut self.interrupts) => Code::Interrupted,
            () = received(&mut self.terminations) => Code::Terminated,
        }
    }
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
pub async fn asked() -> Code {
    let code = Requests::listen().next().await;
    drop(LAST_WORDS.acquire().await);
    code
}

/// The terminal as it is now.
pub struct Terminal(Option<Termios>);

impl Terminal {
    /// Remembers it.
    pub fn now() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }

    /// Puts it back: a password prompt that was left hides what is typed, and a cursor may be hidden.
    pub fn restore(&self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
            let _ = console::Term::stderr().show_cursor();
        }
    }

    /// Ends the program at the second request.
    pub async fn at_once(self) {
        let mut requests = Requests::listen();
        requests.next().await;
        let code = requests.next().await;
        self.restore();
        std::process::exit(code.exit_code().into());
    }
}
