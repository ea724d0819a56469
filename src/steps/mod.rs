//! The facts that make a cluster, by what they are about. Beside a subject's `mod.rs` a file is one step, and its path is the step's
//! name: `daemon/running.rs` is `daemon-running`, `server/vm_up.rs` is `vm-up`. What the steps of a subject share is in its `parts`,
//! what all share in `support`. [`lists`] says which command runs which steps in which order.

mod autoscaler;
mod daemon;
mod group;
mod host;
mod lists;
mod options;
pub mod outages;
mod proof;
pub mod removal;
mod restart;
pub mod rotation;
mod server;
mod support;

use crate::pipeline::Step;
use crate::world::World;

pub use autoscaler::cloud_config::{enrolled_groups, groups as scaled_groups};
pub use group::parts::local_data;
pub use group::parts::nodes::clock;
pub use host::parts::refusals::{licence_refusals, slicer_overwrites, slicer_refusals};
pub use lists::{Leaving, add_hosts, destroy, init, leave, only, prove, rotate, routes};
pub use options::{Options, Proof};

/// A step over connected machines.
pub type AnyStep = Box<dyn Step<World>>;
