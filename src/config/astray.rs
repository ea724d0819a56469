//! A key that stands in the wrong table, or lacks its unit: where it belongs.

use toml::de::DeValue;

use super::keys::KEYS;

/// Where the key `name` belongs that the table `parent` (by its pattern) does not have; `path` is where it was written. `None` where
/// no table has one of that name.
pub(super) fn hint(name: &str, parent: &str, path: &str, value: &DeValue<'_>) -> Option<String> {
    let name = name.to_lowercase().replace('_', "-");
    let keys = || {
        let keys = KEYS.iter().map(|key| key.path);
        keys.map(|path| path.rsplit_once('.').unwrap_or(("", path)))
    };
    let without_unit = |key: &str| {
        key.strip_prefix(&name)
            .is_some_and(|rest| rest.starts_with('-'))
    };
    let mut found: Vec<(&str, &str)> = keys().filter(|(_, key)| *key == name).collect();
    if found.is_empty() && !name.is_empty() {
        found = keys().filter(|(_, key)| without_unit(key)).collect();
    }
    // The one that lacks its unit, then a table of this very section, then any.
    if let Some((_, key)) = found.iter().find(|(table, _)| *table == parent) {
        return Some(format!("did you mean `{key}`?"));
    }
    let inner = found.iter().find_map(|(table, key)| {
        let inner = table.strip_prefix(parent)?.strip_prefix('.')?;
        (!inner.contains('.') && inner != "NAME").then_some((inner, key))
    });
    if let Some((inner, key)) = inner {
        let section = path.rsplit_once('.').map_or("", |(section, _)| section);
        let value = shown(value);
        return Some(format!(
            "`{key}` belongs in `{inner} = {{ {key} = {value} }}` of [{section}]"
        ));
    }
    let (_, key) = found.first()?;
    let same = found.iter().filter(|(_, other)| other == key);
    let tables: Vec<String> = same.map(|(table, _)| heading(table)).collect();
    Some(format!("`{key}` belongs {}", tables.join(" or ")))
}

fn heading(table: &str) -> String {
    if table.is_empty() {
        "above all tables".to_owned()
    } else {
        format!("in [{table}]")
    }
}

/// A value that is no secret by its form.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    const FILE: &str = "name = \"home\"\ncontrol-plane.host = \"a\"\n[hosts.a]\nssh = \"a\"\n[hosts.b]\nssh = \"b\"\n";

    /// `max` beside `ssh` is the likeliest slip, and the list of what is known there does not have it.
    #[test]
    fn a_key_in_the_wrong_table_is_answered_with_the_right_one() {
        for (lines, hint) in [
            (
                "max = 3",
                "`max` belongs in `workers = { max = 3 }` of [hosts.b]",
            ),
            (
                "ram = 4",
                "`ram-gb` belongs in `workers = { ram-gb = 4 }` of [hosts.b]",
            ),
            ("workers = { ram = 4 }", "did you mean `ram-gb`?"),
            (
                "[k3s]\nexpander = \"random\"",
                "`expander` belongs in [autoscaler]",
            ),
            (
                "[k3s]\nshare_daemon = true",
                "`share-daemon` belongs in [hosts.NAME]",
            ),
            (
                "[autoscaler]\ncpu = 2",
                "`cpu` belongs in [control-plane] or in [hosts.NAME.workers]",
            ),
            (
                "[k3s]\nssh-keys = []",
                "`ssh-keys` belongs above all tables",
            ),
            ("colour = 1", "known here: ssh, port"),
        ] {
            let problems = parse(&format!("{FILE}{lines}\n"), "c").unwrap_err();
            let told = problems[0].hint.as_deref().unwrap_or_default();
            assert!(told.starts_with(hint), "{lines}: {told}");
        }
    }
}
