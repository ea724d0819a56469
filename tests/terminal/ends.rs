//! Whatever ends the program, the terminal is as it was.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use slicer_k3s::question::{Ask as _, Terminal};
use slicer_k3s::terminal::Guard;

use crate::INTERRUPT;
use crate::place::Place;
use crate::pty::Pty;

#[test]
fn a_signal_at_a_password_leaves_the_terminal_as_it_was() {
    let mut place = Place::new();
    place.host("ryzen", |host| host.sudo = Some("open sesame"));
    place.record();
    for (signal, code, told) in [
        (Signal::INT, 130, "error[interrupted]"),
        (Signal::TERM, 143, "stopped by SIGTERM"),
        (Signal::HUP, 143, "stopped by SIGHUP"),
    ] {
        let mut pty = place.run("status");
        pty.expect("sudo password on ryzen: ");
        assert!(!pty.echoes());
        pty.press("half");
        pty.kill(signal);
        assert_eq!(pty.ends(), code, "{}", pty.text());
        assert!(pty.text().contains(told), "{}", pty.text());
        pty.is_as_before();
    }
}

#[test]
fn a_failure_after_a_password_leaves_the_terminal_as_it_was() {
    let mut place = Place::new();
    place.host("ryzen", |host| host.sudo = Some("open sesame"));
    place.configure();
    let mut pty = place.run("init --skip-proof");
    for _ in 0..3 {
        pty.expect("sudo password on ryzen: ");
        pty.press("wrong\r");
    }
    assert_eq!(pty.ends(), 1);
    assert!(pty.text().contains("wrong three times"), "{}", pty.text());
    pty.is_as_before();
}

/// The documented way to end it is no error.
#[test]
fn ctrl_c_ends_a_watch_without_a_word() {
    let mut place = Place::new();
    place.host("n100", |_| {});
    place.record();
    let mut pty = place.run("status --watch");
    pty.expect("n100");
    pty.expect("not as they should be");
    std::thread::sleep(Duration::from_millis(500));
    pty.press(INTERRUPT);
    assert_eq!(pty.ends(), 130, "{}", pty.text());
    assert!(!pty.text().contains("error["), "{}", pty.text());
    pty.is_as_before();
}

/// A release build ends at a panic without dropping anything; so does this, at the hook that was there before.
#[test]
fn a_panic_at_a_password_leaves_the_terminal_as_it_was() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "ends::panics_at_a_password",
        ])
        .env("TERM", "xterm");
    let mut pty = Pty::start(&command);
    pty.expect("a password: ");
    assert_eq!(pty.ends(), 101, "{}", pty.text());
    pty.is_as_before();
}

#[test]
#[ignore = "run by another test on a terminal"]
fn panics_at_a_password() {
    std::panic::set_hook(Box::new(|_| std::process::exit(101)));
    let _guard = Guard::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        tokio::select! {
            _ = Terminal.secret("a password") => {}
            () = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                panic!("while the question is open");
            } => {}
        }
    });
}
