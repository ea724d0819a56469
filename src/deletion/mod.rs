//! What may be deleted, one rule a kind. Every removal of a VM, a Node, a bridge, a unit, a file or a log goes by a rule here; the
//! values that the rules give out ([`DeletableVm`], [`DeletableObject`], [`DeletablePath`]) are what the functions that delete
//! ask for. Pure: the rules judge what others have seen, and see nothing themselves.
//!
//! A script that makes a temporary file removes it without a rule, and k3s's password file is k3s's own to write again.

mod belongings;
mod down;
mod files;
mod generated;
mod group_node;
mod local_data;
mod logs;
mod objects;
mod others;
mod passes;
mod server_node;
mod snapshot;
mod vm;

pub use belongings::{Belongings, Seen, is_same_directory};
pub use down::is_down;
pub use files::{DeletablePath, is_name};
pub use generated::is_unchanged;
pub use group_node::{GroupNode, stale_nodes};
pub use local_data::{Claim, all_local, lost_with, perhaps_lost_with};
pub use logs::{consoles, surplus};
pub use objects::DeletableObject;
pub use others::{serves_elsewhere, users_of_the_token};
pub use passes::{APART, Sightings, most};
pub use server_node::server_node;
pub use snapshot::{Known, Snapshot, last_snapshot};
pub use vm::{DeletableVm, may_go_without_node};

#[cfg(test)]
mod tests;
