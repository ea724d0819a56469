//! Our SSH against OpenSSH's own server: a real sshd on a loopback port, as the user who runs the tests, with keys,
//! configuration and known_hosts of its own in a temporary directory. Skipped, with the reason, where there is no sshd.

#![expect(
    clippy::unwrap_used,
    reason = "what a test sets up must work, or the test fails"
)]

use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// Starts a house, or ends the test with the reason why there is none.
macro_rules! house {
    ($config:expr) => {
        match House::open($config) {
            Ok(house) => house,
            Err(why) => {
                println!("skipped: {why}");
                return;
            }
        }
    };
}

mod commands;
mod host_keys;
mod logins;
mod sshd;
mod tunnels;
mod ways;
