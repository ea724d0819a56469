//! Every generated file as a pure function of the plan: what is written to a machine is what can be printed.

mod cloud_config;
mod file;
mod helm;
mod host_yaml;
mod own_addresses;
mod routes;
mod tree;
mod unit;
mod ways;

pub use cloud_config::{NodeGroup, cloud_config, named_groups, node_groups};
pub use file::{
    FORWARDING_PATH, File, daemon_config, daemon_unit, forwarding, host_files, host_mark,
    host_routes, own_addresses, password_drop_in, server_files, server_files_joining,
};
pub use helm::{cloud_config_secret, helm_chart, values, values_hash};
pub use host_yaml::host_yaml;
pub use own_addresses::{ServerPath, own_addresses_path, own_addresses_table, server_paths};
pub use routes::{
    FORMER_ROUTES_UNIT, ROUTES_SCRIPT, ROUTES_UNIT, Route, TABLES, route_table, routes,
    routes_path, routes_script, routes_unit,
};
pub use tree::{Tree, tree};
pub use unit::{UNITS, unit, unit_path};
pub use ways::{RequiredRoute, RouteConsumer, ways};

use crate::failure::{Code, Failure, Result};

/// Renders a template; the only failure is a bug in it.
fn render(template: &impl askama::Template) -> Result<String> {
    template
        .render()
        .map_err(|error| Failure::new(Code::LocalFile, "cannot render a template").because(error))
}
