//! `/etc/rancher/k3s/config.yaml`: settings and tokens in one 0600 file, so that neither argv nor a unit holds one.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::own::SERVER_ARGS;
use crate::failure::{Code, Failure, Result};
use crate::plan::{Plan, Server};
use crate::secret::sha256;
use crate::state::Secrets;
use crate::yaml;

/// Where k3s reads it.
pub const CONFIG_PATH: &str = "/etc/rancher/k3s/config.yaml";

/// A drop-in of the unit that tells which configuration the running process has read.
pub const DROP_IN_PATH: &str = "/etc/systemd/system/k3s.service.d/slicer-k3s.conf";

/// The drop-in for a configuration.
pub fn drop_in(config: &str) -> String {
    let hash = sha256(config.as_bytes());
    format!("# Written by slicer-k3s.\n[Service]\nEnvironment=SLICER_K3S_CONFIG={hash}\n")
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_init: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    token: &'a str,
    agent_token: &'a str,
    node_ip: Ipv4Addr,
    tls_san: BTreeSet<String>,
    write_kubeconfig_mode: &'static str,
    // Cannot be decided later, and Slicer's tokens lie in Secrets: off only where the cluster was made so.
    secrets_encryption: bool,
    cluster_cidr: String,
    service_cidr: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disable: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_taint: Vec<&'static str>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

/// The file of one server. Only the first may start a cluster: two that do are two clusters.
pub fn config(plan: &Plan, server: &Server, secrets: &Secrets) -> Result<String> {
    let k3s = &plan.k3s;
    let mut ours = SERVER_ARGS.iter().map(|(key, _)| key);
    if let Some(key) = ours.find(|key| k3s.extra.contains_key(**key)) {
        return Err(Failure::new(
            Code::Config,
            format!("k3s.server-args sets {key}, which slicer-k3s decides itself"),
        )
        .hint("remove it from cluster.toml"));
    }
    let first = plan
        .servers
        .first()
        .filter(|first| first.name != server.name);
    let sans = plan.servers.iter().map(|server| server.address.to_string());
    yaml::write(&Config {
        cluster_init: first.is_none().then_some(true),
        server: first.map(super::api_url),
        token: secrets.server_token.expose(),
        agent_token: secrets.agent_token.expose(),
        node_ip: server.address,
        tls_san: sans.chain(k3s.tls_san.iter().cloned()).collect(),
        write_kubeconfig_mode: "0600",
        secrets_encryption: !k3s.plain_secrets,
        cluster_cidr: k3s.cluster_cidr.to_string(),
        service_cidr: k3s.service_cidr.to_string(),
        // In one order on every server: the lists must be equal.
        disable: k3s.disable.iter().map(String::as_str).collect(),
        node_taint: if k3s.taint {
            vec!["node-role.kubernetes.io/control-plane=true:NoSchedule"]
        } else {
            Vec::new()
        },
        extra: &k3s.extra,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::{plan, secrets};

    #[test]
    fn the_first_server_starts_the_cluster_and_the_others_join_it() {
        let plan = plan();
        insta::assert_snapshot!(config(&plan, &plan.servers[0], &secrets()).unwrap(), @r#"
        cluster-init: true
        token: 5e7ve7
        agent-token: a9e47
        node-ip: "192.168.137.2"
        tls-san:
        - "192.168.137.2"
        - "192.168.137.3"
        - "192.168.137.4"
        - k3s.example
        write-kubeconfig-mode: "0600"
        secrets-encryption: true
        cluster-cidr: 10.42.0.0/16
        service-cidr: 10.43.0.0/16
        disable:
        - traefik
        - servicelb
        "#);
        let second = config(&plan, &plan.servers[1], &secrets()).unwrap();
        assert!(
            second.contains("server: https://192.168.137.2:6443"),
            "{second}"
        );
        assert!(!second.contains("cluster-init"));
    }

    /// Random hex may look like a number, and k3s would read another token.
    #[test]
    fn a_token_that_looks_like_a_number_stays_text() {
        let plan = plan();
        for token in ["12345678", "123e4567", "0x12", "0123", "1e5"] {
            let mut secrets = secrets();
            secrets.server_token = crate::secret::Secret::new(token);
            let text = config(&plan, &plan.servers[0], &secrets).unwrap();
            let quoted = [format!("token: \"{token}\""), format!("token: '{token}'")];
            assert!(quoted.iter().any(|q| text.contains(q)), "{text}");
        }
    }

    #[test]
    fn extra_settings_are_added_but_ours_stand() {
        let mut plan = plan();
        plan.k3s
            .extra
            .insert("kubelet-arg".into(), serde_json::json!(["max-pods=200"]));
        let text = config(&plan, &plan.servers[0], &secrets()).unwrap();
        assert!(text.contains("max-pods=200"));
        plan.k3s.extra.insert("token".into(), "x".into());
        assert_eq!(
            config(&plan, &plan.servers[0], &secrets())
                .unwrap_err()
                .code,
            Code::Config
        );
    }
}
