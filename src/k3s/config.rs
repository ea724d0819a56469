//! `/etc/rancher/k3s/config.yaml`: settings and tokens in one 0600 file, so that neither argv nor a unit holds one.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::own::refused;
use crate::failure::{Code, Failure, Result};
use crate::names::kubernetes::control_plane;
use crate::plan::{Founded, Plan, Server};
use crate::state::Secrets;
use crate::yaml;

/// Where k3s reads it.
///
/// Source: k3s@af977adf pkg/cli/cmds/config.go, pkg/configfilearg/defaultparser.go.
pub const CONFIG_PATH: &str = "/etc/rancher/k3s/config.yaml";

/// What keeps ordinary pods off a server, as `kubectl taint` and k3s's `node-taint` say it.
///
/// Source: docs.k3s.io, installation/ha-embedded ("dedicated control-plane nodes"); k3s's packaged add-ons tolerate it
/// (k3s@af977adf manifests/).
pub const SERVER_TAINT: &str = control_plane!("=true:NoSchedule");

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

/// Which server a server of the plan names as the one to join if it has no data; none where it is to found the cluster.
///
/// Once a second server votes every file names another server, the first one's, too, and none has `cluster-init`: an empty
/// disk can then never found a second cluster. k3s ignores both keys where it has data.
pub fn joins<'p>(plan: &'p Plan, server: &Server) -> Option<&'p Server> {
    let is_first = plan
        .servers
        .first()
        .is_some_and(|first| first.name == server.name);
    let founded = plan.founded.as_ref();
    let founds = is_first && !founded.is_some_and(Founded::outlives_a_server);
    joins_finally(plan, server).filter(|_| !founds)
}

/// Which one it names once a second server votes: the first the second, the others the first; none where it is alone.
pub fn joins_finally<'p>(plan: &'p Plan, server: &Server) -> Option<&'p Server> {
    let mut servers = plan.servers.iter();
    servers.find(|other| other.name != server.name)
}

/// The file of one server that joins another one, or founds the cluster.
pub fn config(
    plan: &Plan,
    server: &Server,
    join: Option<&Server>,
    secrets: &Secrets,
) -> Result<String> {
    text(plan, server, Start::of(join), secrets)
}

/// All of the file but how the server starts where it has no data.
pub(super) fn settings(plan: &Plan, server: &Server, secrets: &Secrets) -> Result<String> {
    text(plan, server, Start::default(), secrets)
}

/// How a server without data starts.
#[derive(Default)]
struct Start {
    cluster_init: Option<bool>,
    server: Option<String>,
}

impl Start {
    fn of(join: Option<&Server>) -> Self {
        Self {
            cluster_init: join.is_none().then_some(true),
            server: join.map(super::api_url),
        }
    }
}

fn text(plan: &Plan, server: &Server, start: Start, secrets: &Secrets) -> Result<String> {
    let k3s = &plan.k3s;
    if let Some((key, why)) = refused(&k3s.extra).next() {
        return Err(
            Failure::new(Code::Config, format!("k3s.server-args cannot set {key}"))
                .because(why)
                .hint("remove it from cluster.toml"),
        );
    }
    let sans = plan.servers.iter().map(|server| server.address.to_string());
    yaml::write(&Config {
        cluster_init: start.cluster_init,
        server: start.server,
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
            vec![SERVER_TAINT]
        } else {
            Vec::new()
        },
        extra: &k3s.extra,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, secrets};

    fn canonical(plan: &Plan, server: usize, secrets: &Secrets) -> Result<String> {
        let server = &plan.servers[server];
        config(plan, server, joins(plan, server), secrets)
    }

    #[test]
    fn the_first_server_starts_the_cluster_and_the_others_join_it() {
        let plan = plan();
        insta::assert_snapshot!(canonical(&plan, 0, &secrets()).unwrap(), @r#"
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
        let second = canonical(&plan, 1, &secrets()).unwrap();
        assert!(
            second.contains("server: https://192.168.137.2:6443"),
            "{second}"
        );
        assert!(!second.contains("cluster-init"));
    }

    /// With `cluster-init` in its file a first server that lost its disk would found a second, empty cluster.
    #[test]
    fn once_a_second_server_votes_none_founds() {
        let mut plan = plan();
        let founded = |voters: &[&str]| crate::plan::Founded {
            ca: "ca".into(),
            voters: voters.iter().map(|name| (*name).to_owned()).collect(),
        };
        plan.founded = Some(founded(&["k3s-cp-1"]));
        assert!(
            canonical(&plan, 0, &secrets())
                .unwrap()
                .contains("cluster-init: true")
        );
        plan.founded = Some(founded(&["k3s-cp-1", "k3s-cp-2"]));
        for (server, other) in [
            (0, "192.168.137.3"),
            (1, "192.168.137.2"),
            (2, "192.168.137.2"),
        ] {
            let text = canonical(&plan, server, &secrets()).unwrap();
            assert!(!text.contains("cluster-init"), "{text}");
            assert!(
                text.contains(&format!("server: https://{other}:6443")),
                "{text}"
            );
        }
        plan.servers.truncate(1);
        assert!(
            canonical(&plan, 0, &secrets())
                .unwrap()
                .contains("cluster-init: true")
        );
    }

    /// Random hex may look like a number, and k3s would read another token.
    #[test]
    fn a_token_that_looks_like_a_number_stays_text() {
        let plan = plan();
        for token in ["12345678", "123e4567", "0x12", "0123", "1e5"] {
            let mut secrets = secrets();
            secrets.server_token = crate::secret::Secret::new(token);
            let text = canonical(&plan, 0, &secrets).unwrap();
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
        let text = canonical(&plan, 0, &secrets()).unwrap();
        assert!(text.contains("max-pods=200"));
        plan.k3s.extra.insert("token".into(), "x".into());
        assert_eq!(
            canonical(&plan, 0, &secrets()).unwrap_err().code,
            Code::Config
        );
    }
}
