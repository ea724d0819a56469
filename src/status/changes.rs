//! What the next `init` would plan otherwise than the last one did: cluster.toml against the cluster.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::plan::Plan;

/// Keys whose values are the user's own and may hold secrets: named, never shown.
const HIDDEN: [&str; 3] = ["args", "extra", "values"];

/// (machine, what differs) between two plans, as far as hosts were seen for both.
pub(super) fn changes(then: &Plan, now: &Plan) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for host in &now.hosts {
        if then.host(&host.name).is_none() {
            let what = "it is in cluster.toml, and not yet in the cluster";
            found.push((host.name.clone(), what.to_owned()));
        }
    }
    let both = |host: &str| then.host(host).is_some() && now.host(host).is_some();
    let groups: BTreeSet<&str> = then
        .daemons
        .iter()
        .chain(&now.daemons)
        .filter(|daemon| both(&daemon.host))
        .map(|daemon| daemon.group.as_str())
        .collect();
    for group in groups {
        match (then.daemon(group), now.daemon(group)) {
            (Some(old), Some(new)) => {
                for what in differences(old, new) {
                    found.push((new.host.clone(), format!("{group}: {what}")));
                }
            }
            (Some(old), None) => found.push((
                old.host.clone(),
                format!("group {group} is no longer in cluster.toml"),
            )),
            (None, Some(new)) => found.push((
                new.host.clone(),
                format!("group {group} is in cluster.toml, and not yet in the cluster"),
            )),
            (None, None) => {}
        }
    }
    let cluster = [
        ("k3s", differences(&then.k3s, &now.k3s)),
        ("autoscaler", differences(&then.autoscaler, &now.autoscaler)),
    ];
    for (table, differences) in cluster {
        for what in differences {
            found.push(("cluster".to_owned(), format!("{table}: {what}")));
        }
    }
    if then.ssh_keys != now.ssh_keys {
        found.push(("cluster".to_owned(), "ssh-keys differ".to_owned()));
    }
    found
}

/// `key is OLD, cluster.toml says NEW` for each key that differs.
fn differences<T: Serialize>(then: &T, now: &T) -> Vec<String> {
    let object = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => serde_json::Map::new(),
    };
    let (then, now) = (object(then), object(now));
    now.iter()
        .filter(|(key, new)| then.get(*key) != Some(*new))
        .map(|(key, new)| {
            let name = key.replace('_', "-");
            match then.get(key) {
                Some(old) if !HIDDEN.contains(&key.as_str()) => {
                    format!("{name} is {}, to be {}", shown(old), shown(new))
                }
                _ => format!("{name} differs"),
            }
        })
        .collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn each_change_is_named_with_both_values_and_no_secret_value() {
        let then = plan();
        let mut now = plan();
        assert_eq!(changes(&then, &now), []);
        now.daemons[1].max = 6;
        now.k3s.disable = vec!["traefik".into()];
        now.autoscaler
            .values
            .insert("secret".into(), "hunter2".into());
        let found = changes(&then, &now);
        assert_eq!(
            found,
            [
                ("ryzen".into(), "k3s-agents-1: max is 4, to be 6".into()),
                (
                    "cluster".into(),
                    "k3s: disable is traefik servicelb, to be traefik".into()
                ),
                ("cluster".into(), "autoscaler: values differs".into()),
            ]
        );
    }

    /// A host that is off is a finding of its own; its groups did not change.
    #[test]
    fn a_host_that_is_off_changes_nothing_of_its_groups() {
        let then = plan();
        let mut now = plan();
        now.hosts.retain(|host| host.name != "ryzen");
        now.daemons.retain(|daemon| daemon.host != "ryzen");
        assert_eq!(changes(&then, &now), []);
        assert_eq!(changes(&now, &then).len(), 1);
    }
}
