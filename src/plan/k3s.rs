//! What every server is told of k3s, and the environment in which servers reach the Internet through a proxy.

use std::collections::BTreeMap;

use super::groups::Draft;
use super::{K3s, Plan};
use crate::config;
use crate::failure::{Code, Failure};

/// cluster.toml asks for another version than the servers have.
pub fn other_version(decided: &str, configured: &str) -> Option<Failure> {
    if decided == configured {
        return None;
    }
    let failure = Failure::new(
        Code::PlanConflict,
        format!("the servers run k3s {decided}, cluster.toml asks for {configured}"),
    );
    Some(
        failure
            .because("init does not change the version of a running cluster")
            .hint(format!(
                "set `version = \"{decided}\"` in [k3s] of cluster.toml, or leave it out"
            )),
    )
}

impl Plan {
    /// Takes over the version that the servers were upgraded to.
    pub fn upgraded(&mut self, version: &str, why: &str) {
        version.clone_into(&mut self.k3s.version);
        let reason = ("k3s".to_owned(), format!("{version}: {why}"));
        match self.reasons.iter_mut().find(|(what, _)| what == "k3s") {
            Some(known) => *known = reason,
            None => self.reasons.push(reason),
        }
    }
}

impl Draft<'_> {
    /// What every server is told; the version is the one that was decided, else asked for, else resolved.
    pub(super) fn k3s(&mut self, resolved: &str) -> K3s {
        let wanted = &self.config.k3s;
        let version = self.decisions.k3s_version.clone();
        if let (Some(decided), Some(configured)) = (&version, &wanted.version) {
            self.failures.extend(other_version(decided, configured));
        }
        let networks = (wanted.cluster_cidr, wanted.service_cidr);
        if let Some(decided) = self
            .decisions
            .k3s_networks
            .filter(|decided| *decided != networks)
        {
            self.failures.push(
                Failure::new(
                    Code::PlanConflict,
                    "k3s's networks cannot be changed any more",
                )
                .because(format!("the cluster has {} and {}", decided.0, decided.1))
                .hint(
                    "put them back as `cluster-cidr` and `service-cidr` in [k3s] of cluster.toml",
                ),
            );
        }
        let why = match (&version, &wanted.version) {
            (Some(_), _) => "as before".to_owned(),
            (None, Some(_)) => "as cluster.toml says".to_owned(),
            (None, None) => format!("what the {} channel says now", wanted.channel),
        };
        let version = version
            .or_else(|| wanted.version.clone())
            .unwrap_or_else(|| resolved.to_owned());
        self.reason("k3s", format!("{version}: {why}"));
        K3s {
            version,
            cluster_cidr: wanted.cluster_cidr,
            service_cidr: wanted.service_cidr,
            disable: wanted.disable.clone(),
            plain_secrets: self.decisions.plain_secrets,
            tls_san: self.config.control_plane.tls_san.clone(),
            taint: self.config.control_plane.taint,
            addons_on_servers: wanted.addons_on_servers,
            registries: wanted.registries.clone(),
            environment: proxies(wanted),
            extra: wanted.server_args.clone(),
        }
    }
}

/// Every private network: hosts, VMs, pods and services are in one, and a proxy is for what is not.
pub const PRIVATE: [&str; 6] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    ".svc",
    ".cluster.local",
];

/// The variables that a proxy takes; none where there is no proxy.
fn proxies(wanted: &config::K3s) -> BTreeMap<String, String> {
    let named = [
        ("HTTP_PROXY", &wanted.http_proxy),
        ("HTTPS_PROXY", &wanted.https_proxy),
    ];
    let mut variables: BTreeMap<String, String> = named
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
        .collect();
    if !variables.is_empty() {
        let without = PRIVATE.into_iter();
        let without = without.chain(wanted.no_proxy.iter().map(String::as_str));
        let without: Vec<&str> = without.collect();
        variables.insert("NO_PROXY".to_owned(), without.join(","));
    }
    variables
}
