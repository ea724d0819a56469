//! slicer-k3s: from bare machines to a proven, highly available, autoscaling k3s cluster on Slicer.
//!
//! Five nouns, in the order in which data flows: a `Config` is what the user wrote, a `Plan` every decision made from it and from
//! what was found on the hosts, a `Step` one fact that is checked and made true, an `Event` what happened, a report what people or
//! programs are shown of it. A reader may follow them: [`config`], [`plan`], [`steps`] (run by [`pipeline`] over [`world`]),
//! [`event`], [`report`]; [`commands`] connects them.
//!
//! docs/design.md says which module may use which.

// What only tests use is a dev-dependency, so that in this build every dependency has to be used.
#![cfg_attr(not(test), deny(unused_crate_dependencies))]

pub mod agents;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control_plane;
pub mod deletion;
pub mod escape;
pub mod etcd;
pub mod event;
pub mod explanations;
pub mod facts;
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
mod named;
pub mod names;
pub mod pipeline;
pub mod plan;
pub mod question;
pub mod remote;
pub mod report;
pub mod secret;
mod shared;
pub mod shell;
pub mod slicer;
pub mod state;
pub mod status;
pub mod step_id;
pub mod steps;
pub mod stop;
pub mod suggest;
pub mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod url;
pub mod vm;
pub mod world;
pub mod yaml;
