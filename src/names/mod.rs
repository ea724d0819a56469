//! What other programs, and we, call things on machines and in the cluster: each name once, with its source. Uses nothing else of
//! the program, so everything may use it.

pub mod autoscaler;
pub mod k3s;
pub mod kubernetes;
pub mod ours;
pub mod slicer;
