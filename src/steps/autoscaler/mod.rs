//! The Cluster Autoscaler: its configuration, its chart, its Deployment, and the packaged components beside it.

pub(super) mod addons_on_servers;
pub(super) mod chart;
pub(super) mod cloud_config;
pub(super) mod parts;
pub(super) mod resumed;
pub(super) mod running;
