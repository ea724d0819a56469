//! A host as such: Slicer, its mark, forwarding, routes and addresses.

pub(super) mod forwarding;
pub(super) mod mark;
pub(super) mod own_addresses;
pub(super) mod parts;
pub(super) mod routes;
pub(super) mod slicer_installed;
pub(super) mod workstation_route;
