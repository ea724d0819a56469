//! What a person at a terminal sees and what their keys do: the program on a terminal of its own, with a home of its own, and
//! hosts in this process that run nothing. Needs no root and no network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::exit,
    clippy::missing_docs_in_private_items,
    reason = "tests"
)]

mod ends;
mod host;
mod limits;
mod place;
mod pty;
mod questions;
mod screen;
mod secrets;

/// Ctrl-C and Ctrl-D.
const INTERRUPT: &str = "\x03";
const END: &str = "\x04";

/// Longer than `status` waits for a host that does not answer.
const LONGER: std::time::Duration = std::time::Duration::from_secs(7);
