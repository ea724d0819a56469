//! Passwords: said to be wrong, never shown, never left for a shell, never asked for where none is needed.

use std::time::Duration;

use crate::place::Place;

fn desktop() -> Place {
    let mut place = Place::new();
    place.host("ryzen", |host| {
        host.sudo = Some("open sesame");
        host.checks_for = Duration::from_secs(2);
    });
    place.record();
    place
}

#[test]
fn a_wrong_password_is_called_so_and_the_way_without_one_is_told() {
    let place = desktop();
    let mut pty = place.run("status");
    pty.expect("sudo password on ryzen: ");
    pty.press("wrong\r");
    pty.expect("Sorry, try again: sudo on ryzen does not accept that password.");
    pty.expect("sudo password on ryzen: ");
    pty.press("open sesame\r");
    pty.expect("To skip this prompt: sudo-password-file or SLICER_K3S_SUDO_PASSWORD, see https://");
    pty.ends();
    let text = pty.text();
    assert!(
        !text.contains("sesame") && !text.contains("wrong\r"),
        "{text}"
    );
    pty.is_as_before();
}

/// What is typed meanwhile may be the next password.
#[test]
fn what_is_typed_while_a_password_is_checked_is_not_shown_and_not_left_for_the_shell() {
    let place = desktop();
    let mut pty = place.shell("\"$0\" status; /bin/cat >after");
    pty.expect("sudo password on ryzen: ");
    pty.press("wrong\r");
    place.at("ryzen").is_told("sudo -S", 1);
    assert!(!pty.echoes());
    pty.press("another try\r");
    pty.expect("Sorry, try again");
    pty.expect("sudo password on ryzen: ");
    pty.press("open sesame\r");
    place.at("ryzen").is_told("sudo -S", 2);
    assert!(!pty.echoes());
    pty.press("too late\r");
    pty.expect("not as they should be");
    // Until the shell's own program waits.
    std::thread::sleep(Duration::from_secs(2));
    pty.press(crate::END);
    pty.ends();
    let text = pty.text();
    assert!(
        !text.contains("another try") && !text.contains("too late"),
        "{text}"
    );
    // Nor was it taken for the answer to the next question.
    assert_eq!(text.matches("Sorry, try again").count(), 1, "{text}");
    assert_eq!(
        std::fs::read_to_string(place.path("work/after")).unwrap(),
        ""
    );
}

/// A program that is ended in the middle of a password leaves its half to no one.
#[test]
fn half_a_password_is_not_left_for_the_shell() {
    let place = desktop();
    let mut pty = place.shell(
        "/usr/bin/timeout --foreground -s TERM 6 \"$0\" status; echo code $?; /bin/cat >after",
    );
    pty.expect("sudo password on ryzen: ");
    pty.press("open ses");
    pty.expect("code ");
    std::thread::sleep(Duration::from_secs(1));
    pty.press("\r");
    pty.press(crate::END);
    pty.ends();
    let text = pty.text();
    assert!(
        text.contains("error[terminated]") && !text.contains("open ses"),
        "{text}"
    );
    assert_eq!(
        std::fs::read_to_string(place.path("work/after")).unwrap(),
        "\n"
    );
}

/// It has answered: it is not to be switched on.
#[test]
fn a_host_whose_sudo_refuses_is_not_called_off() {
    let place = desktop();
    let mut command = place.command("status");
    command.env("SLICER_K3S_SUDO_PASSWORD", "wrong");
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("needs sudo") && !text.contains("OFF"),
        "{text}"
    );
    assert!(!text.contains("switch ryzen on"), "{text}");
}
