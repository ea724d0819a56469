//! What we know of k3s: what it calls things (`names`), its config file, its tokens, and what its journal means.

pub mod addons;
mod config;
mod config_file;
mod drop_in;
mod journal;
mod names;
mod surroundings;
mod token;
mod unit;
mod upgrade;
mod version;

pub use config::{CONFIG_PATH, SERVER_TAINT, config, joins, joins_finally};
pub use config_file::{DROP_INS_PATH, DropIn, drop_ins, merged, overruled, table, with_arguments};
pub use drop_in::{DROP_IN_PATH, PASSWORD_DROP_IN, PASSWORD_DROP_IN_PATH, drop_in};
pub use journal::{Told, Trouble, texts, told};
pub use names::{
    AGENT_TOKEN_PATH, AGENT_UNIT, AGENT_UNIT_ENVIRONMENT_PATH, API_PORT, AUTHORITIES_EXPIRE,
    CA_PATH, CA_REQUEST_PATH, CERTIFICATE_MONITOR, CERTIFICATES_EXPIRE, CERTIFICATES_SOUND,
    CHANNELS_URL, ETCD_PEER_PORT, INSTALLER_URL, JOIN_PATH, KUBECONFIG_PATH, MEMBERS_PATH,
    PAUSE_IMAGE, PROGRAM, SERVER_DIRECTORY, SNAPSHOTS_DIRECTORY, TLS_DIRECTORY, TOKEN_PATH,
    TOKEN_REQUEST_PATH, TOMBSTONE_PATH, UNIT, VOTES, local_api,
};
pub use surroundings::{
    ENVIRONMENT_PATH, MARK, REGISTRIES_PATH, environment, other_proxy, proxies, readings,
    registries,
};
pub use token::{agent_token, configured_token, password};
pub use unit::{UNIT_ENVIRONMENT_PATH, UNIT_PATH, arguments, as_config, overrules};
pub use upgrade::upgrade;
pub use version::{Release, version_of};

/// Where the API of a server listens, for agents and other servers.
pub fn api_url(server: &crate::plan::Server) -> String {
    format!("https://{}:{API_PORT}", server.address)
}
