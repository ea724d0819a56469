//! What a run leaves on the screen.

use std::process::Command;
use std::time::Duration;

use slicer_k3s::cli::Output;
use slicer_k3s::event::{Event, Events};
use slicer_k3s::report;
use tokio::signal::unix::{SignalKind, signal};

use crate::INTERRUPT;
use crate::pty::Pty;

/// The `^C` that the terminal showed moved the cursor, so that a line of what was in progress stayed as if it still were.
#[test]
fn nothing_in_progress_is_left_after_ctrl_c() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture", "screen::shows_a_run"])
        .env("TERM", "xterm");
    let mut pty = Pty::start(&command);
    pty.expect("Start cp-2");
    std::thread::sleep(Duration::from_millis(500));
    pty.press(INTERRUPT);
    pty.expect("stopped after");
    std::thread::sleep(Duration::from_millis(500));
    assert!(!pty.screen().contains("Too late"), "{}", pty.screen());
    pty.ends();
    let screen = pty.screen();
    let lines = |text: &str| screen.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("Boot cp-1"), 1, "{screen}");
    assert_eq!(lines("Start cp-2"), 1, "{screen}");
    let told = screen.lines().find(|line| line.contains("in progress: "));
    let told = told.unwrap_or_default();
    assert!(told.contains("Boot cp-1; Start cp-2"), "{screen}");
    pty.is_as_before();
}

#[tokio::test]
#[ignore = "run by another test on a terminal"]
async fn shows_a_run() {
    let mut interrupts = signal(SignalKind::interrupt()).unwrap();
    let (events, listening) = Events::channel(|_| {});
    let report = report::listen(Output::Human, listening);
    let started = |step: &str, title: &str| Event::StepStarted {
        step: step.to_owned(),
        title: title.to_owned(),
        at_seconds: 0.0,
    };
    events.send(started("vm-up/k3s-cp-1", "Boot cp-1"));
    events.send(started("k3s-started/k3s-cp-2", "Start cp-2"));
    interrupts.recv().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    events.send(Event::RunStopped {
        reason: "stopped by Ctrl-C".into(),
        in_progress: vec!["vm-up/k3s-cp-1".into(), "k3s-started/k3s-cp-2".into()],
        ended: 1,
        seconds: 1.0,
    });
    events.send(started("late/x", "Too late"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(events);
    report.await.unwrap();
}
