//! What the steps of a rotation share.

pub(crate) mod order;
pub(crate) mod put_token;
