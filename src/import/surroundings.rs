//! Registries and proxies, as the servers have them. Both may hold passwords.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Findings;
use crate::failure::{Code, Failure, Result};
use crate::k3s::{self, REGISTRIES_PATH};
use crate::plan;

/// A server's registries.yaml, the first one that there is; empty where none has one.
pub(super) fn registries(findings: &Findings) -> Result<Map<String, Value>> {
    let mut servers = findings.servers.iter();
    let Some((name, facts)) = servers.find(|(_, facts)| !facts.registries.expose().is_empty())
    else {
        return Ok(Map::new());
    };
    let unusable = |why: &str, hint: &str| {
        Failure::new(
            Code::Import,
            format!("{REGISTRIES_PATH} on {name} cannot be taken over"),
        )
        .because(why.to_owned())
        .hint(format!("on {name}: {hint}; then run again"))
    };
    // What the parser says may quote a password.
    let read: Option<Map<String, Value>> =
        serde_saphyr::from_str(facts.registries.expose()).unwrap_or_default();
    let Some(mut read) = read else {
        let hint = format!("correct it, or remove it: sudo rm {REGISTRIES_PATH}");
        return Err(unusable("it is not YAML, or no table", &hint));
    };
    if read.keys().any(|key| key != "mirrors" && key != "configs") {
        return Err(unusable(
            "it has other keys than `mirrors` and `configs`",
            "move the passwords to `configs` and remove the other keys",
        ));
    }
    for table in read.values_mut() {
        // TOML has no word for nothing; to k3s an entry without content is an empty one.
        if table.is_null() {
            *table = json!({});
        }
        for entry in table.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if entry.is_null() {
                *entry = json!({});
            }
            drop_nulls(entry);
        }
    }
    Ok(read)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The servers' proxies as cluster.toml says them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Proxies {
    /// URLs by key.
    pub(super) urls: BTreeMap<&'static str, String>,
    /// What is reached without one, beyond what every plan has.
    pub(super) without: Vec<String>,
}

/// Those of the first server that has any.
pub(super) fn proxies(findings: &Findings) -> Proxies {
    let mut servers = findings.servers.iter();
    let found = servers.find_map(|(_, facts)| {
        let read = k3s::proxies(facts.environment.expose());
        let named = [("http-proxy", "HTTP_PROXY"), ("https-proxy", "HTTPS_PROXY")];
        let urls: BTreeMap<&'static str, String> = named
            .into_iter()
            .filter_map(|(key, variable)| Some((key, url(read.get(variable)?)?)))
            .collect();
        (!urls.is_empty()).then(|| Proxies {
            urls,
            without: without(read.get("NO_PROXY").map_or("", String::as_str)),
        })
    });
    found.unwrap_or_default()
}

/// A proxy's URL. Go, which k3s is written in, takes one without a scheme for plain HTTP (golang.org/x/net/http/httpproxy,
/// `parseProxy`).
fn url(text: &str) -> Option<String> {
    match text.trim() {
        "" => None,
        url if url.contains("://") => Some(url.to_owned()),
        host => Some(format!("http://{host}")),
    }
}

fn without(list: &str) -> Vec<String> {
    let mut without: Vec<String> = Vec::new();
    for entry in list.split([',', ' ']).map(str::trim) {
        let known = plan::NO_PROXY.contains(&entry) || without.iter().any(|other| other == entry);
        if !entry.is_empty() && !known {
            without.push(entry.to_owned());
        }
    }
    without
}
