//! What the steps of a removal share.

pub(crate) mod console_logs;
