//! What a server's k3s reads besides its config.yaml, where the user asks for it: registries.yaml and its environment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::config::{config, settings};
use crate::failure::Result;
use crate::names::ours::MARK;
use crate::plan::{Plan, Server};
use crate::secret::sha256;
use crate::state::Secrets;
use crate::yaml;

/// Where k3s reads its mirrors and registries' credentials.
///
/// Source: k3s@af977adf pkg/cli/cmds/agent.go (`private-registry`).
pub const REGISTRIES_PATH: &str = "/etc/rancher/k3s/registries.yaml";

/// Where its unit reads variables first. k3s's install script does not write it, but copies proxies from its own environment to
/// [`super::UNIT_ENVIRONMENT_PATH`], which is read last.
///
/// Source: k3s@af977adf install.sh, `create_systemd_service_file` (`EnvironmentFile`).
pub const ENVIRONMENT_PATH: &str = "/etc/default/k3s";

/// The variables by which programs know their proxies. `running_proxies.sh` has the same ones.
///
/// Source: k3s@af977adf install.sh, `create_env_file`; Go's golang.org/x/net/http/httpproxy, `FromEnvironment`.
const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// registries.yaml, where it has anything to say.
pub fn registries(plan: &Plan) -> Result<Option<String>> {
    if plan.k3s.registries.is_empty() {
        return Ok(None);
    }
    yaml::write(&plan.k3s.registries).map(|text| Some(format!("{MARK}{text}")))
}

/// The environment, where there is any; systemd and shells read it alike.
pub fn environment(plan: &Plan) -> Option<String> {
    let variables = &plan.k3s.environment;
    let mut text = MARK.to_owned();
    for (name, value) in variables {
        let _ = writeln!(text, "{name}={}", crate::shell::quote(value));
    }
    (!variables.is_empty()).then_some(text)
}

/// A proxy variable that a process has otherwise than the plan, by what [`crate::remote::Probe::RunningProxies`] printed. One
/// that is set elsewhere, too, is not ours to decide: a restart would change nothing.
pub fn other_proxy(plan: &Plan, printed: &str) -> Option<&'static str> {
    let lines = printed.lines().filter_map(|line| line.split_once(' '));
    let lines: Vec<(&str, &str)> = lines.collect();
    PROXIES.into_iter().find(|name| {
        let of_it = lines.iter().filter(|(named, _)| named == name);
        let said: Vec<&str> = of_it.map(|(_, said)| *said).collect();
        let wanted = plan.k3s.environment.get(*name);
        let has = match wanted {
            Some(value) => said.contains(&sha256(value.as_bytes()).as_str()),
            None => said.is_empty(),
        };
        !has && !said.contains(&"elsewhere")
    })
}

/// Proxies in the texts of a server's environment files, in the order in which its unit reads them, by their upper-case names.
pub fn proxies(texts: &str) -> BTreeMap<String, String> {
    let pairs = texts.lines().filter_map(|line| line.trim().split_once('='));
    let proxies = pairs.filter_map(|(name, value)| {
        let name = name.to_ascii_uppercase();
        let known = PROXIES.contains(&name.as_str());
        known.then(|| (name, unquoted(value)))
    });
    proxies.collect()
}

/// A value as systemd and shells read it; ours and the install script's are in single or double quotes, or in none.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    if let Some(inner) = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        return inner.replace("\\\"", "\"").replace("\\\\", "\\");
    }
    match value
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
    {
        Some(inner) => inner.replace("'\\''", "'"),
        None => value.to_owned(),
    }
}

/// All that a server's process reads at its start and that needs a restart to change. The first text is the one that is
/// written down; a process that was started with one of the others has read the same.
///
/// How a server without data starts does not count, since k3s ignores it where there is data, nor does its taint, which only a
/// new Node gets. Earlier releases counted both.
pub fn readings(plan: &Plan, server: &Server, secrets: &Secrets) -> Result<Vec<String>> {
    let more: String = [registries(plan)?, environment(plan)]
        .into_iter()
        .flatten()
        .collect();
    let first = plan.servers.first().cloned();
    let joined = first.filter(|first| first.name != server.name);
    let joined = joined.as_ref();
    let mut plan = plan.clone();
    let mut texts = Vec::new();
    for taint in [false, true] {
        plan.k3s.taint = taint;
        texts.push(settings(&plan, server, secrets)? + &more);
        texts.push(config(&plan, server, joined, secrets)? + &more);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, secrets};

    #[test]
    fn what_nobody_asked_for_changes_nothing() {
        let plan = plan();
        let server = &plan.servers[0];
        assert_eq!(registries(&plan).unwrap(), None);
        assert_eq!(environment(&plan), None);
        let readings = readings(&plan, server, &secrets()).unwrap();
        assert_eq!(readings[0], settings(&plan, server, &secrets()).unwrap());
    }

    #[test]
    fn a_mirror_and_a_proxy_are_written_as_k3s_reads_them() {
        let mut plan = plan();
        let mirrors = serde_json::json!({"docker.io": {"endpoint": ["https://mirror.lan"]}});
        plan.k3s.registries.insert("mirrors".into(), mirrors);
        let proxy = "http://me:a'b@10.0.0.1:3128";
        plan.k3s
            .environment
            .insert("HTTPS_PROXY".into(), proxy.into());
        insta::assert_snapshot!(registries(&plan).unwrap().unwrap(), @r"
        # Written by slicer-k3s.
        mirrors:
          docker.io:
            endpoint:
            - https://mirror.lan
        ");
        let text = environment(&plan).unwrap();
        let script = format!("{text}printf %s \"$HTTPS_PROXY\"");
        let shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .output();
        assert_eq!(String::from_utf8(shell.unwrap().stdout).unwrap(), proxy);
        for restarts in readings(&plan, &plan.servers[0], &secrets()).unwrap() {
            assert!(restarts.contains("mirror.lan") && restarts.contains("3128"));
        }
    }

    /// Older releases let k3s's install script copy the proxies to a file that overrules ours: such a process has read what its
    /// configuration's hash does not say.
    #[test]
    fn a_process_with_another_proxy_is_outdated() {
        let mut plan = plan();
        assert!(other_proxy(&plan, "").is_none());
        let is = |value: &str| format!("HTTPS_PROXY {}\n", sha256(value.as_bytes()));
        assert!(other_proxy(&plan, &is("http://a:1")).is_some());
        // A restart would not take away what systemd itself gives.
        let elsewhere = format!("{}HTTPS_PROXY elsewhere\n", is("http://a:1"));
        assert!(other_proxy(&plan, &elsewhere).is_none());
        let proxy = ("HTTPS_PROXY".into(), "http://b:1".into());
        plan.k3s.environment = [proxy].into();
        assert!(other_proxy(&plan, &is("http://b:1")).is_none());
        assert!(other_proxy(&plan, &elsewhere).is_none());
        for other in [is("http://a:1"), String::new()] {
            assert!(other_proxy(&plan, &other).is_some(), "{other}");
        }
    }

    #[test]
    fn proxies_are_read_as_the_unit_reads_them() {
        let texts = "# ours\nHTTPS_PROXY=http://a:1\nhttps_proxy='http://me:a'\\''b@c:2'\nNO_PROXY=\"10.0.0.0/8,x\"\nLANG=C\n";
        let read = proxies(texts);
        assert_eq!(read["HTTPS_PROXY"], "http://me:a'b@c:2");
        assert_eq!(read["NO_PROXY"], "10.0.0.0/8,x");
        assert_eq!(read.len(), 2);
    }

    /// Taking `cluster-init` out of a running server's file must not restart it, nor must an update of this program.
    #[test]
    fn how_a_server_would_start_needs_no_restart() {
        let mut plan = plan();
        let before = readings(&plan, &plan.servers[0], &secrets()).unwrap();
        plan.founded = Some(crate::plan::Founded {
            ca: "ca".into(),
            voters: ["k3s-cp-1".to_owned(), "k3s-cp-2".to_owned()].into(),
        });
        let after = readings(&plan, &plan.servers[0], &secrets()).unwrap();
        assert_eq!(before, after);
        assert!(!after[0].contains("cluster-init") && after[1].contains("cluster-init: true"));
        plan.k3s.taint = true;
        assert_eq!(
            readings(&plan, &plan.servers[0], &secrets()).unwrap(),
            before
        );
        let second = readings(&plan, &plan.servers[1], &secrets()).unwrap();
        assert!(second[1].contains("server: https://192.168.137.2:6443"));
    }
}
