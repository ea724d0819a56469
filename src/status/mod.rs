//! One picture of a cluster and what drifted: gather (looks, side by side) → compare (pure) → document → render or JSON.

mod changes;
mod compare;
mod document;
mod gather;
mod render;

pub use compare::compare;
pub use document::{
    Capacity, ConfigProblem, Drift, Group, Host, HostState, Node, Remark, Skew, Status, VERSION,
};
pub use gather::{Asked, NotSeen, Observed, Waiting, gather};
pub use render::render;
