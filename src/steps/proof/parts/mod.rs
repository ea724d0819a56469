//! What the steps of a proof share.

pub(crate) mod pods;
pub(crate) mod record;
pub(crate) mod silent;
