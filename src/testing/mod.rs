//! What the tests of several modules share: machines that answer as a test says, plans, worlds, and files of earlier releases.

mod machine;
mod options;
mod plan;
mod stored;
mod world;

pub(crate) use machine::{Fake, Hangs, NOT_FOUND, machine};
pub(crate) use options::options;
pub(crate) use plan::{adopted, decided, found_daemon, plan, shared, spread};
pub(crate) use stored::stored;
pub(crate) use world::{secrets, world};

pub(crate) use crate::pipeline::testing::permit;
