//! What steps of several subjects are made with.

pub(super) mod api;
pub(super) mod connectivity;
pub(super) mod console;
pub(super) mod diff;
pub(super) mod file;
pub(super) mod ordered;
pub(super) mod run_context;
pub(super) mod unit;
