//! This process's terminal: as it was when the program began, whatever ends it.

use std::io::stdin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::getpgrp;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush,
    tcgetattr, tcgetpgrp, tcsetattr,
};

/// Its modes when the program began; none where stdin is no terminal.
static BEFORE: OnceLock<Option<Termios>> = OnceLock::new();

/// Whether what is typed is hidden, and so may be a secret.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// What turns a key's signal off (`_POSIX_VDISABLE`).
const NO_KEY: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };

/// Puts the terminal back when it is dropped, and at a panic: a release build ends there without dropping anything.
pub struct Guard(());

impl Guard {
    /// Remembers the terminal as it is now; the first one counts.
    pub fn new() -> Self {
        let first = BEFORE.get().is_none();
        BEFORE.get_or_init(|| tcgetattr(stdin()).ok());
        if first {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                usual(panic);
            }));
        }
        Self(())
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back to what it was when the program began. A half-typed secret is discarded: a shell would run it.
pub fn restore() {
    let Some(Some(before)) = BEFORE.get() else {
        return;
    };
    // A job in the background would be stopped for it, and the terminal is another's.
    if is_foreground() && tcgetattr(stdin()).is_ok_and(|now| differs(&now, before)) {
        put(before);
    }
}

fn differs(now: &Termios, before: &Termios) -> bool {
    now.local_modes != before.local_modes
        || now.input_modes != before.input_modes
        || now.output_modes != before.output_modes
        || now.control_modes != before.control_modes
}

fn put(modes: &Termios) {
    if HIDDEN.swap(false, Ordering::Relaxed) {
        discard_input();
    }
    // Not after what is still to be printed: a terminal that was stopped by Ctrl-S would hold the program up.
    let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
}

/// Discards what was typed and not read.
pub(crate) fn discard_input() {
    let _ = tcflush(stdin(), QueueSelector::IFlush);
}

fn is_foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == getpgrp())
}

/// Modes of the terminal that hold until this is dropped.
pub struct Modes(Termios);

impl Modes {
    fn set(change: impl FnOnce(&mut Termios)) -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        let mut now = before.clone();
        change(&mut now);
        tcsetattr(stdin(), OptionalActions::Now, &now).ok()?;
        Some(Self(before))
    }

    /// A line at a time, edited by the terminal itself: Ctrl-C is a signal then, and Ctrl-D the end of the input.
    pub(crate) fn line() -> Option<Self> {
        Self::set(by_line)
    }

    /// The same where what is typed is not shown. What was typed before is no answer, and what is typed until this is dropped
    /// reaches no one else. Neither Ctrl-Z nor Ctrl-\ leaves the terminal in this state to a shell.
    pub(crate) fn hidden() -> Option<Self> {
        HIDDEN.store(true, Ordering::Relaxed);
        let modes = Self::set(|now| {
            by_line(now);
            now.local_modes.remove(LocalModes::ECHO);
            now.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
            now.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
        });
        discard_input();
        modes
    }

    /// Every key as it is, for a terminal at the other end.
    pub(crate) fn raw() -> Option<Self> {
        Self::set(Termios::make_raw)
    }

    /// Ctrl-C is not shown as `^C`: that would move the cursor, and a display that counts its lines would leave one behind.
    pub(crate) fn without_control_echo() -> Option<Self> {
        if !is_foreground() {
            return None;
        }
        Self::set(|now| now.local_modes.remove(LocalModes::ECHOCTL))
    }
}

fn by_line(now: &mut Termios) {
    now.local_modes
        .insert(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO | LocalModes::ECHOE);
    now.input_modes.insert(InputModes::ICRNL);
}

impl Drop for Modes {
    fn drop(&mut self) {
        put(&self.0);
    }
}
