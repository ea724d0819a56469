//! What we know of k3s: its config file, its tokens, and what its journal means.

pub mod addons;
mod config;
mod drop_in;
mod journal;
mod surroundings;
mod token;
mod unit;
mod upgrade;
mod version;

pub use config::{CONFIG_PATH, SERVER_TAINT, config, joins, joins_finally};
pub use drop_in::{DROP_IN_PATH, PASSWORD_DROP_IN, PASSWORD_DROP_IN_PATH, drop_in};
pub use journal::{Told, Trouble, texts, told};
pub use surroundings::{
    ENVIRONMENT_PATH, MARK, REGISTRIES_PATH, environment, other_proxy, proxies, readings,
    registries,
};
pub use token::{agent_token, configured_token, password};
pub use unit::{UNIT_ENVIRONMENT_PATH, UNIT_PATH, arguments, as_config, overrules};
pub use upgrade::upgrade;
pub use version::{Release, version_of};

/// The label of servers' Nodes; its value is `true` (k3s@af977adf pkg/server/server.go, setNodeLabelsAndAnnotations).
pub const SERVER_LABEL: &str = "node-role.kubernetes.io/control-plane";

/// The systemd unit of a server.
pub const UNIT: &str = "k3s.service";

/// Where the API of a server listens, for agents and other servers.
pub fn api_url(server: &crate::plan::Server) -> String {
    format!("https://{}:6443", server.address)
}
