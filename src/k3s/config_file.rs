//! How k3s reads config.yaml and the drop-ins beside it: one after the other, by name, and the last word on a key counts.
//!
//! Source: k3s@af977adf pkg/configfilearg/parser.go (`readConfigFile`, `dotDFiles`, `toSlice`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::config::own::SERVER_ARGS;
use crate::secret::Secret;

/// Where the drop-ins are. `drop_ins.sh` has it, too.
///
/// Source: k3s@af977adf pkg/configfilearg/parser.go (`dotDFiles`).
pub const DROP_INS_PATH: &str = "/etc/rancher/k3s/config.yaml.d";

/// Keys that take several values, where a single one may stand for itself.
///
/// Source: k3s@af977adf pkg/cli/cmds/server.go and agent.go (`StringSliceFlag`).
const LISTS: [&str; 19] = [
    "airgap-extra-registry",
    "cluster-cidr",
    "cluster-dns",
    "disable",
    "etcd-arg",
    "kube-apiserver-arg",
    "kube-cloud-controller-arg",
    "kube-cloud-controller-manager-arg",
    "kube-controller-arg",
    "kube-controller-manager-arg",
    "kube-proxy-arg",
    "kube-scheduler-arg",
    "kubelet-arg",
    "node-external-ip",
    "node-ip",
    "node-label",
    "node-taint",
    "service-cidr",
    "tls-san",
];

/// Those of which cluster.toml has a list, and k3s takes several values between commas.
///
/// Source: k3s@af977adf pkg/cli/server/server.go (`SplitStringSlice` of `tls-san` and `disable`). A taint has no comma.
pub(super) const SPLIT: [&str; 3] = ["disable", "node-taint", "tls-san"];

/// Keys whose value changes with time or is a secret of ours: no other file may say them, not even the same.
const OURS_ALONE: [&str; 6] = [
    "token",
    "token-file",
    "agent-token",
    "agent-token-file",
    "server",
    "cluster-init",
];

/// One of the files in [`DROP_INS_PATH`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropIn {
    /// Its name, without the directory.
    pub name: String,
    /// Its content, which may hold tokens.
    pub text: Secret,
}

/// The drop-ins in the output of `drop_ins.sh`; `None` where that did not come to its end.
pub fn drop_ins(said: &str) -> Option<Vec<DropIn>> {
    let mut lines: Vec<&str> = said.lines().collect();
    if lines.pop() != Some("== end") {
        return None;
    }
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in lines {
        if let Some(name) = line.strip_prefix("== ") {
            found.push((name, String::new()));
        } else if let (Some((_, text)), Some(line)) = (found.last_mut(), line.strip_prefix(' ')) {
            text.push_str(line);
            text.push('\n');
        }
    }
    let found = found.into_iter().map(|(name, text)| DropIn {
        name: name.to_owned(),
        text: Secret::new(text),
    });
    Some(found.collect())
}

/// A file's keys; `None` where it is no YAML table.
pub fn table(text: &str) -> Option<Map<String, Value>> {
    let table: Option<Map<String, Value>> =
        serde_saphyr::from_str_with_options(text, crate::yaml::options()).ok()?;
    Some(table.unwrap_or_default())
}

/// What these files say together, the later ones over the earlier ones. What cannot be read says nothing.
pub fn merged<'t>(texts: impl IntoIterator<Item = &'t str>) -> Map<String, Value> {
    let mut all: Map<String, Value> = Map::new();
    for (key, value) in texts.into_iter().filter_map(table).flatten() {
        let (key, appends) = match key.strip_suffix('+') {
            Some(key) => (key.to_owned(), true),
            None => (key, false),
        };
        match all.get_mut(&key) {
            Some(before) if appends => {
                let mut values = several(before.take());
                values.extend(several(value));
                *before = Value::Array(values);
            }
            _ => drop(all.insert(key, value)),
        }
    }
    for (key, value) in &mut all {
        if SPLIT.contains(&key.as_str()) {
            *value = Value::Array(split(value.take()));
        }
    }
    all
}

/// Adds what the command line says: it wins, and adds to lists.
///
/// Source: k3s@af977adf pkg/configfilearg/parser.go (`Parse`).
pub fn with_arguments(config: &mut Map<String, Value>, arguments: Map<String, Value>) {
    for (key, value) in arguments {
        match config.get_mut(&key) {
            Some(before) if LISTS.contains(&key.as_str()) => {
                let mut values = several(before.take());
                values.extend(several(value));
                *before = Value::Array(values);
            }
            _ => drop(config.insert(key, value)),
        }
    }
}

fn several(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        Value::Null => Vec::new(),
        value => vec![value],
    }
}

/// A list as cluster.toml has it, of whatever form.
fn split(value: Value) -> Vec<Value> {
    let words = several(value).into_iter().flat_map(|value| {
        let text = text(&value);
        let words = text.split(',').map(str::trim);
        let words = words.filter(|word| !word.is_empty());
        words.map(Value::from).collect::<Vec<_>>()
    });
    words.collect()
}

/// A scalar as the flag that k3s makes of it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

/// Which key of which drop-in overrules what our config.yaml says, or is ours alone to say; `None` where none does. The
/// values are not told.
pub fn overruled<'d>(config: &str, drop_ins: &'d [DropIn]) -> Option<(&'d DropIn, String)> {
    let alone = table(config).unwrap_or_default();
    let texts = drop_ins.iter().map(|file| file.text.expose());
    let together = merged([config].into_iter().chain(texts));
    for file in drop_ins.iter().rev() {
        for key in table(file.text.expose()).unwrap_or_default().keys() {
            let key = key.strip_suffix('+').unwrap_or(key);
            let decided = alone.contains_key(key) || SERVER_ARGS.iter().any(|(own, _)| *own == key);
            let same = values(key, alone.get(key)) == values(key, together.get(key));
            if OURS_ALONE.contains(&key) || (decided && !same) {
                return Some((file, key.to_owned()));
            }
        }
    }
    None
}

/// The values that a key has, whatever their order and form.
fn values(key: &str, value: Option<&Value>) -> BTreeSet<String> {
    let value = value.cloned().unwrap_or_default();
    if SPLIT.contains(&key) {
        return split(value).iter().map(text).collect();
    }
    let values = if LISTS.contains(&key) {
        several(value)
    } else {
        vec![value]
    };
    values.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;

    fn file(name: &str, text: &str) -> DropIn {
        DropIn {
            name: name.into(),
            text: Secret::new(text),
        }
    }

    /// `disable: traefik` was lost, and `init` deployed Traefik again.
    #[test]
    fn a_single_value_is_a_list_of_one_and_commas_separate() {
        let said = merged([
            "disable: traefik, servicelb\ntls-san: lb.example\nnode-taint: a=b:NoSchedule\nkubelet-arg: max-pods=9,x\nx:\n",
        ]);
        let wanted = json!({
            "disable": ["traefik", "servicelb"], "tls-san": ["lb.example"], "node-taint": ["a=b:NoSchedule"],
            "kubelet-arg": "max-pods=9,x", "x": null,
        });
        assert_eq!(Value::Object(said), wanted);
        assert_eq!(merged(["disable:\n"])["disable"], json!([]));
    }

    #[test]
    fn later_files_win_and_a_plus_appends() {
        let said = merged([
            "disable: traefik\ntoken: a\nkubelet-arg: [b]\n",
            "disable+: [servicelb]\ntoken: b\n",
            "kubelet-arg: [broken",
            "kubelet-arg+: c\nnode-label+: d=e\n",
        ]);
        let wanted = json!({
            "disable": ["traefik", "servicelb"], "token": "b", "kubelet-arg": ["b", "c"], "node-label": "d=e",
        });
        assert_eq!(Value::Object(said), wanted);
    }

    #[test]
    fn a_drop_in_that_says_otherwise_than_our_file_is_found_without_its_value() {
        let ours = "token: 5ecre7\ndisable:\n- traefik\ntls-san:\n- a\nnode-ip: 10.0.0.1\n";
        let found = |text: &str| {
            let files = [file("10-a.yaml", "debug: true\n"), file("90-b.yaml", text)];
            overruled(ours, &files).map(|(file, key)| format!("{} {key}", file.name))
        };
        for (text, key) in [
            ("token: 5ecre7\n", "token"),
            ("server: https://x\n", "server"),
            ("disable: servicelb\n", "disable"),
            ("disable+: servicelb\n", "disable"),
            ("cluster-cidr: 10.44.0.0/16\n", "cluster-cidr"),
            ("node-ip: 10.0.0.2\n", "node-ip"),
        ] {
            assert_eq!(found(text), Some(format!("90-b.yaml {key}")), "{text}");
        }
        for text in [
            "disable: traefik\n",
            "disable+: traefik\n",
            "tls-san: [a]\n",
            "kubelet-arg: max-pods=9\n",
            "",
            "# nothing\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn drop_ins_are_read_in_k3ss_order_and_a_cut_answer_is_none() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/rancher/k3s/config.yaml.d");
        fs_err::create_dir_all(directory.join("dir.yaml")).unwrap();
        for (name, text) in [
            ("20-b.yml", "b: 1\n== end\n"),
            ("10-A.YAML", "a: 1"),
            ("30-c.txt", "c: 1"),
            ("B.yaml", "d: 1"),
        ] {
            fs_err::write(directory.join(name), text).unwrap();
        }
        let script = include_str!("../remote/drop_ins.sh");
        assert_eq!(script.matches(DROP_INS_PATH).count(), 2);
        for shell in ["sh", "bash"] {
            let done = Command::new(shell)
                .args(["-c", script])
                .env("r", root.path())
                .output()
                .unwrap();
            let said = String::from_utf8(done.stdout).unwrap();
            let found = drop_ins(&said).unwrap();
            let wanted = [
                file("10-A.YAML", "a: 1\n"),
                file("20-b.yml", "b: 1\n== end\n"),
                file("B.yaml", "d: 1\n"),
            ];
            assert_eq!(found, wanted, "{shell}");
            assert_eq!(drop_ins(&said[..said.len() - 7]), None);
        }
        assert_eq!(drop_ins(""), None);
        assert_eq!(drop_ins("== end\n"), Some(Vec::new()));
    }
}
