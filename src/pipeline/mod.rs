//! The engine: a step is a fact that we want true. Check; if it does not hold, apply; check again
//! until it holds or the step's timeout is over.

mod ended;
mod engine;
mod look;
mod permit;
mod step;
mod tell;

pub use ended::{Ended, Span, critical_path};
pub use engine::{Mode, run, stop};
pub use look::{all_hold, look_at_once};
pub use permit::WritePermit;
#[cfg(test)]
pub(crate) use permit::testing;
pub use step::{Finding, Meta, Phase, Step};
pub use tell::run_ended;
