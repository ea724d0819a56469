//! The engine: a step is a fact that we want true. Check; if it does not hold, apply; check again
//! until it holds or the step's patience is over.

mod ended;
mod engine;
pub mod hands;
mod look;
mod step;
mod tell;

pub use ended::{Ended, Span, critical_path};
pub use engine::{Mode, run, stop};
pub use hands::Hands;
#[cfg(test)]
pub(crate) use hands::testing;
pub use look::{all_hold, look_at_once};
pub use step::{Finding, Step, StepId};
pub use tell::run_ended;
