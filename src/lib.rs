//! slicer-k3s: from bare machines to a proven, highly available, autoscaling k3s cluster on Slicer.
//!
//! The map of the house, in the order data flows: `config` (what the user wrote) and `plan` (every decision)
//! → `control_plane` (what the servers hold, and how each may start), `deletion` (what may be deleted) → `steps` (one fact a file) run by `pipeline` over `world` (connections) → `event` → `report` (the terminal).
//! Below all of them: `question` (what only a person can answer) and `terminal` (its modes).

pub mod agents;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control_plane;
pub mod deletion;
pub mod escape;
pub mod event;
pub mod explanations;
pub mod failure;
pub mod files;
pub mod fleet;
#[cfg(test)]
mod fuzz;
pub mod generate;
pub mod import;
pub mod k3s;
pub mod kubeconfig;
pub mod kubernetes;
pub mod log;
pub mod names;
pub mod pipeline;
pub mod plan;
pub mod question;
pub mod remote;
pub mod report;
pub mod secret;
mod shared;
pub mod slicer;
pub mod state;
pub mod status;
pub mod steps;
pub mod stop;
pub mod suggest;
pub mod terminal;
pub mod time;
pub mod world;
pub mod yaml;
