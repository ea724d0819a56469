//! What the steps of a workers' group share.

pub mod local_data;
pub(crate) mod nodes;
pub(crate) mod orphans;
pub(crate) mod restart_autoscaler;
