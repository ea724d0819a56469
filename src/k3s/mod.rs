//! What we know of k3s: what it calls things (`names`), its config file, its tokens, and what its journal means.

use crate::names::k3s::API_PORT;

pub mod addons;
mod config;
mod config_file;
mod drop_in;
mod journal;
mod surroundings;
mod token;
mod unit;
mod upgrade;
mod version;

pub use config::{CONFIG_PATH, SERVER_TAINT, config, joins, joins_finally};
pub use config_file::{DROP_INS_PATH, DropIn, drop_ins, merged, overruled, table, with_arguments};
pub use drop_in::{DROP_IN_PATH, PASSWORD_DROP_IN, PASSWORD_DROP_IN_PATH, drop_in};
pub use journal::{Told, Trouble, texts, told};
pub use surroundings::{
    ENVIRONMENT_PATH, REGISTRIES_PATH, environment, other_proxy, proxies, readings, registries,
};
pub use token::{agent_token, configured_token, password};
pub use unit::{UNIT_ENVIRONMENT_PATH, UNIT_PATH, arguments, as_config, overrules};
pub use upgrade::upgrade;
pub use version::{Release, version_of};

/// Where the API of a server listens, for agents and other servers.
pub fn api_url(server: &crate::plan::Server) -> String {
    format!("https://{}:{API_PORT}", server.address)
}
