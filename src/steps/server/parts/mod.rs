//! What the steps of a server share.

pub(crate) mod drop_ins;
pub(crate) mod k3s_troubles;
pub(crate) mod node;
