//! A server, from its VM to a vote in etcd, and what the workstation keeps of the cluster.

pub(super) mod api_ready;
pub(super) mod cluster_recorded;
pub(super) mod data_set_aside;
pub(super) mod etcd_voter;
pub(super) mod join_address;
pub(super) mod k3s_config;
pub(super) mod k3s_installed;
pub(super) mod k3s_password_file;
pub(super) mod k3s_started;
pub(super) mod key;
pub(super) mod kubeconfig_saved;
pub(super) mod node_ready;
pub(super) mod old_node_removed;
pub(super) mod parts;
pub(super) mod taint;
pub(super) mod vm_path;
pub(super) mod vm_reachable;
pub(super) mod vm_up;
