//! The daemon: `slicer up`.

pub(crate) mod banner;
pub(crate) mod config;
pub(crate) mod fleet;
pub(crate) mod group;
pub(crate) mod life;
pub(crate) mod record;
pub(crate) mod seat;
pub(crate) mod secrets;
pub(crate) mod settings;
pub(crate) mod token;
pub(crate) mod up;
