//! A workers' group: its join token, the way to it, and its agents.

pub(super) mod agents_drained;
pub(super) mod agents_settled;
pub(super) mod k3s_token_secret;
pub(super) mod nodes_drained;
pub(super) mod parts;
pub(super) mod reachable;
