//! What the steps of the autoscaler share.

pub(crate) mod chart_state;
pub(crate) mod log_causes;
pub(crate) mod unreached_groups;
