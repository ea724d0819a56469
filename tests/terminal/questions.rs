//! Every question takes a whole line, ends at once by Ctrl-C and is declined by Ctrl-D.

use crate::place::Place;
use crate::pty::Pty;
use crate::{END, INTERRUPT};

/// A place at which a program waits at a question of each kind.
fn asked(kind: &str) -> (Place, Pty) {
    let mut place = Place::new();
    let (arguments, question) = match kind {
        "text" => ("init", "A machine that runs Slicer"),
        "host key" => {
            place.stranger("n100", |_| {});
            place.record();
            ("status", "Is it this machine's? [y/n] ")
        }
        "password" => {
            place.host("n100", |host| host.sudo = Some("open sesame"));
            place.configure();
            ("init --skip-proof", "sudo password on n100: ")
        }
        "password of a command that passes on" => {
            place.host("n100", |host| host.sudo = Some("open sesame"));
            place.record();
            ("kubectl get nodes", "sudo password on n100: ")
        }
        "passphrase" => {
            place.host("n100", |_| {});
            place.lock_key("open sesame");
            place.configure();
            ("init", "Passphrase of ")
        }
        "plan" => {
            place.host("n100", |_| {});
            place.configure();
            ("init", "Apply this plan? [y/n] ")
        }
        "name" => {
            place.host("n100", |_| {});
            place.record();
            ("destroy", "Type the cluster's name (home) to go on: ")
        }
        _ => unreachable!(),
    };
    let mut pty = place.run(arguments);
    pty.expect(question);
    if kind == "passphrase" {
        pty.expect("(for n100): ");
    }
    (place, pty)
}

const KINDS: [&str; 7] = [
    "text",
    "host key",
    "password",
    "password of a command that passes on",
    "passphrase",
    "plan",
    "name",
];

/// Some answered with another error and exit code 2, some took two presses and said nothing.
#[test]
fn ctrl_c_ends_every_question_at_the_first_press() {
    for kind in KINDS {
        let (_place, mut pty) = asked(kind);
        pty.press(INTERRUPT);
        assert_eq!(pty.ends(), 130, "{kind}: {}", pty.text());
        let text = pty.text();
        assert!(text.contains("error[interrupted]"), "{kind}: {text}");
        let lines = text.lines().filter(|line| line.contains("error["));
        assert!(lines.count() == 1, "{kind}: {text}");
        // Not behind the question.
        let screen = pty.screen();
        let begins = screen.lines().any(|line| line.starts_with("error["));
        assert!(begins, "{kind}: {screen}");
        pty.is_as_before();
    }
}

/// It did nothing at some, and was an empty password at others.
#[test]
fn ctrl_d_declines_every_question() {
    for kind in KINDS {
        let (_place, mut pty) = asked(kind);
        pty.press(END);
        let code = match kind {
            "password of a command that passes on" => 125,
            _ => 1,
        };
        assert_eq!(pty.ends(), code, "{kind}: {}", pty.text());
        if kind == "host key" {
            // One host of many: the picture says so.
            assert!(pty.text().contains("refuses"), "{}", pty.text());
        } else {
            assert!(
                pty.text().contains("error[declined]"),
                "{kind}: {}",
                pty.text()
            );
        }
        pty.is_as_before();
    }
}

/// The first key of `yes` was the answer, and the rest answered the next question.
#[test]
fn yes_and_enter_answer_one_question() {
    let mut place = Place::new();
    place.stranger("n100", |_| {});
    place.stranger("ryzen", |_| {});
    place.record();
    let mut pty = place.run("status");
    pty.expect("Is it this machine's? [y/n] ");
    pty.press("yes\r");
    pty.expect("Is it this machine's? [y/n] ");
    pty.press("\r");
    pty.expect("Please type y or n: ");
    pty.press("of course\r");
    pty.expect("Please type y or n: ");
    pty.press("No\r");
    assert_eq!(pty.ends(), 1);
    let known = std::fs::read_to_string(place.path("home/.ssh/known_hosts")).unwrap();
    assert_eq!(known.lines().count(), 1, "{}", pty.text());
    let text = pty.text();
    assert_eq!(text.matches("Is it this machine's?").count(), 2, "{text}");
    let refuses = text.lines().filter(|line| line.contains(" refuses "));
    assert_eq!(refuses.count(), 1, "{text}");
}

#[test]
fn a_no_is_a_no_in_any_case_and_a_yes_to_the_plan_too() {
    for (answer, begins) in [("N", false), ("Yes", true)] {
        let (_place, mut pty) = asked("plan");
        pty.press(&format!("{answer}\r"));
        // Without Slicer, what begins soon ends.
        assert_eq!(pty.ends(), 1, "{}", pty.text());
        assert_eq!(pty.text().contains("init home: "), begins, "{answer}");
        assert_eq!(pty.text().contains("nothing was changed"), !begins);
        pty.is_as_before();
    }
}

/// Only its name, whole.
#[test]
fn another_name_destroys_nothing() {
    let (place, mut pty) = asked("name");
    pty.press("hom\r");
    assert_eq!(pty.ends(), 1, "{}", pty.text());
    assert!(
        pty.text().contains("that is not its name"),
        "{}",
        pty.text()
    );
    assert!(place.path("state/slicer-k3s/home/state.json").exists());
}

/// As in scripts: what is missing is named.
#[test]
fn without_a_terminal_nothing_is_asked() {
    let mut place = Place::new();
    place.host("n100", |host| host.sudo = Some("open sesame"));
    place.configure();
    let mut command = place.command("init");
    command.stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("error[sudo]") && !text.contains("sudo password on"),
        "{text}"
    );
}
