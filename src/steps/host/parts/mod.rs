//! What the steps of a host share.

pub(crate) mod other_marks;
pub(crate) mod refusals;
