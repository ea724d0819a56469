//! How the source is built: who may import whom, and how large a file and a function may be. docs/design.md says why.
#![allow(clippy::unwrap_used, reason = "tests")]

mod imports;
mod sizes;
mod source;
