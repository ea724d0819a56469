//! A Slicer daemon: its configuration, that it runs and answers.

pub(super) mod answers;
pub(super) mod config;
pub(super) mod current;
pub(super) mod running;
