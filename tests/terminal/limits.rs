//! A question stops every clock, and nothing is asked twice.

use std::time::Duration;

use crate::LONGER;
use crate::place::Place;

/// A host was called OFF while its owner typed its password, which then went to the shell.
#[test]
fn status_waits_for_a_password_that_is_typed_slowly() {
    let mut place = Place::new();
    place.host("n100", |_| {});
    place.host("ryzen", |host| host.sudo = Some("open sesame"));
    place.record();
    let mut pty = place.run("status");
    pty.expect("sudo password on ryzen: ");
    std::thread::sleep(LONGER);
    pty.press("open sesame\r");
    pty.ends();
    let text = pty.text();
    let row = |host: &str| {
        text.lines()
            .find(|line| line.starts_with(host))
            .unwrap_or_default()
    };
    assert!(row("ryzen ").contains(" answers "), "{text}");
    assert!(row("n100 ").contains(" answers "), "{text}");
}

/// sudo takes two seconds to refuse a password: two wrong ones are longer than a host has to answer.
#[test]
fn what_sudo_takes_to_refuse_is_not_the_networks_time() {
    let mut place = Place::new();
    place.host("ryzen", |host| {
        host.sudo = Some("open sesame");
        host.checks_for = Duration::from_secs(3);
    });
    place.record();
    let mut pty = place.run("status");
    for _ in 0..2 {
        pty.expect("sudo password on ryzen: ");
        pty.press("wrong\r");
    }
    pty.expect("sudo password on ryzen: ");
    pty.press("open sesame\r");
    pty.ends();
    let text = pty.text();
    let row = text.lines().find(|line| line.starts_with("ryzen "));
    assert!(row.unwrap_or_default().contains(" answers "), "{text}");
}

/// Two hosts with one locked key, one of which loses its connection at once.
#[test]
fn a_passphrase_is_asked_once_a_run() {
    let mut place = Place::new();
    place.host("n100", |host| host.vanishes_at = Some("section arch"));
    place.host("ryzen", |_| {});
    place.lock_key("open sesame");
    place.record();
    let mut pty = place.run("status");
    pty.expect("Passphrase of ");
    pty.press("wrong\r");
    pty.expect("Sorry, try again: that does not open ");
    pty.expect("Passphrase of ");
    pty.press("open sesame\r");
    pty.ends();
    let text = pty.text();
    assert!(place.at("n100").connections() >= 2, "{text}");
    assert_eq!(text.matches("Passphrase of ").count(), 2, "{text}");
}

/// Servers end a login that takes too long; what was typed is known by then.
#[test]
fn a_passphrase_that_is_typed_slowly_is_used_for_another_login() {
    let mut place = Place::new();
    place.host("n100", |host| host.grace = Duration::from_secs(3));
    place.lock_key("open sesame");
    place.record();
    let mut pty = place.run("status");
    pty.expect("Passphrase of ");
    std::thread::sleep(LONGER);
    pty.press("open sesame\r");
    pty.ends();
    let text = pty.text();
    assert_eq!(text.matches("Passphrase of ").count(), 1, "{text}");
    let row = text.lines().find(|line| line.starts_with("n100 "));
    assert!(row.unwrap_or_default().contains(" answers "), "{text}");
}
