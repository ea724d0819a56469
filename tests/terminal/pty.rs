//! A program on a terminal of its own: what it shows, what is typed, how it ends, and the terminal's modes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// Rows and columns.
const SIZE: (u16, u16) = (24, 80);

/// The machine that runs the tests may be busy with others.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the terminal has shown.
struct Shown {
    bytes: Vec<u8>,
    screen: vt100::Parser,
}

/// A program on a terminal.
pub(crate) struct Pty {
    keys: File,
    /// Held, or the terminal's modes would go with the program.
    terminal: OwnedFd,
    program: Child,
    shown: Arc<(Mutex<Shown>, Condvar)>,
    /// Up to where what was shown was waited for.
    read: usize,
    before: Modes,
}

/// The modes that a program may leave changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Modes(String);

impl Modes {
    fn of(modes: &Termios) -> Self {
        Self(format!(
            "{:?} {:?} {:?} {:?}",
            modes.input_modes, modes.output_modes, modes.control_modes, modes.local_modes
        ))
    }
}

impl Pty {
    /// Starts the program with these arguments, in the environment that `command` has.
    pub(crate) fn start(command: &Command) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: SIZE.0,
            ws_col: SIZE.1,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let end = || terminal.try_clone().unwrap();
        // A session of its own whose terminal this is, without code of ours between fork and exec.
        let mut session = Command::new("/usr/bin/setsid");
        session
            .arg("--ctty")
            // Whatever started the tests may ignore some (nohup does), and that is inherited.
            .args(["/usr/bin/env", "--default-signal"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .stdin(end())
            .stdout(end())
            .stderr(end());
        if let Some(directory) = command.get_current_dir() {
            session.current_dir(directory);
        }
        let before = Modes::of(&tcgetattr(&terminal).unwrap());
        let program = session.spawn().unwrap();
        let keys = File::from(keys);
        let shown = Arc::new((
            Mutex::new(Shown {
                bytes: Vec::new(),
                screen: vt100::Parser::new(SIZE.0, SIZE.1, 0),
            }),
            Condvar::new(),
        ));
        let mut output = keys.try_clone().unwrap();
        let told = Arc::clone(&shown);
        // Ends when the last end of the terminal is closed.
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut shown = told.0.lock().unwrap();
                shown.bytes.extend_from_slice(&buffer[..count]);
                shown.screen.process(&buffer[..count]);
                told.1.notify_all();
            }
        });
        Self {
            keys,
            terminal,
            program,
            shown,
            read: 0,
            before,
        }
    }

    /// Waits until this was shown, after what was waited for before.
    pub(crate) fn expect(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        let mut shown = self.shown.0.lock().unwrap();
        loop {
            let rest = &shown.bytes[self.read..];
            let mut places = rest.windows(text.len());
            if let Some(place) = places.position(|bytes| bytes == text.as_bytes()) {
                self.read += place + text.len();
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no \"{text}\" in:\n{}",
                String::from_utf8_lossy(&shown.bytes)
            );
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Presses these keys; Enter is `\r`.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends a signal to the program.
    pub(crate) fn kill(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.program), signal).unwrap();
    }

    /// Waits for the program's end; its exit code.
    pub(crate) fn ends(&mut self) -> i32 {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.program.try_wait().unwrap() {
                // What it printed last is on its way.
                std::thread::sleep(Duration::from_millis(200));
                return code(status);
            }
            assert!(Instant::now() < until, "it goes on:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that was shown, as it came.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.0.lock().unwrap().bytes).into_owned()
    }

    /// What is on the screen now.
    pub(crate) fn screen(&self) -> String {
        let mut text = String::new();
        let shown = self.shown.0.lock().unwrap();
        for row in shown.screen.screen().rows(0, SIZE.1) {
            let _ = writeln!(text, "{}", row.trim_end());
        }
        text
    }

    fn modes(&self) -> Modes {
        Modes::of(&tcgetattr(&self.terminal).unwrap())
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(rustix::termios::LocalModes::ECHO)
    }

    /// The terminal is as it was before the program.
    pub(crate) fn is_as_before(&self) {
        assert_eq!(self.modes(), self.before, "after:\n{}", self.text());
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 1000 + status.signal().unwrap_or(0))
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
