//! k3s's own unit, as its install script writes it. Ours says `server` and nothing else: all the rest is in config.yaml.

use serde_json::{Map, Value, json};

use super::config_file::SPLIT;

/// The unit.
///
/// Source: k3s@af977adf install.sh, `setup_env` (`FILE_K3S_SERVICE`).
pub const UNIT_PATH: &str = "/etc/systemd/system/k3s.service";

/// What the install script found in its environment. The unit reads it last, so a proxy here would win over the one in
/// `/etc/default/k3s`, and a token over the one in config.yaml. On our servers it names no token and no proxy.
///
/// Source: k3s@af977adf install.sh, `create_env_file` and `create_systemd_service_file`; k3s reads `K3S_*` where neither a
/// flag nor config.yaml says anything, and its own command line over all.
pub const UNIT_ENVIRONMENT_PATH: &str = "/etc/systemd/system/k3s.service.env";

/// Beginnings of the names that the install script copies there and that we write elsewhere. It also copies `CONTAINERD_*` and
/// `KINE_*`, which cluster.toml has no keys for: those are the operator's.
///
/// Source: k3s@af977adf install.sh, `create_env_file`.
const COPIED: [&str; 4] = ["K3S_", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"];

/// The words after `k3s server` in a unit's text.
pub fn arguments(unit: &str) -> Vec<String> {
    let mut lines = unit
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("ExecStart="));
    let mut words = Vec::new();
    for line in lines.by_ref() {
        let (text, goes_on) = match line.trim_end().strip_suffix('\\') {
            Some(text) => (text, true),
            None => (line, false),
        };
        let plain = |word: &str| word.trim_matches(['\'', '"']).to_owned();
        words.extend(text.split_whitespace().map(plain));
        if !goes_on {
            break;
        }
    }
    let mut after = words.into_iter().skip_while(|word| word != "server");
    after.next();
    after.collect()
}

/// Arguments as config.yaml would say them.
pub fn as_config(arguments: &[String]) -> Map<String, Value> {
    let mut config = Map::new();
    let mut words = arguments.iter().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--") else {
            continue;
        };
        let (key, value) = match flag.split_once('=') {
            Some((key, value)) => (key, json!(value)),
            None => match words.next_if(|next| !next.starts_with('-')) {
                Some(value) => (flag, json!(value)),
                None => (flag, json!(true)),
            },
        };
        let value = match value.as_str() {
            Some("true") => json!(true),
            Some("false") => json!(false),
            Some(text) if SPLIT.contains(&key) => json!(text.split(',').collect::<Vec<_>>()),
            _ => value,
        };
        match config.get_mut(key) {
            None => {
                config.insert(key.to_owned(), value);
            }
            Some(before) => {
                let mut all = listed(before.take());
                all.extend(listed(value));
                *before = Value::Array(all);
            }
        }
    }
    config
}

fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        value => vec![value],
    }
}

/// What in k3s's own unit and its environment would overrule config.yaml; `None` where nothing does.
pub fn overrules(unit: &str, environment: &str) -> Option<String> {
    if let Some(flag) = arguments(unit).first() {
        return Some(format!("its unit says {flag}"));
    }
    let mut names = environment.lines().filter_map(|line| line.split_once('='));
    let copied = |name: &str| {
        let name = name.to_ascii_uppercase();
        COPIED.iter().any(|beginning| name.starts_with(beginning))
    };
    let name = names.find(|(name, _)| copied(name))?.0;
    Some(format!("its unit's environment holds {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_HAND: &str = "[Service]\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t\
        '--cluster-init' \\\n\t'--tls-san' \\\n\t'192.168.137.2' \\\n\t'--tls-san=k3s.example' \\\n\t'--disable' \\\n\t\
        'traefik,servicelb' \\\n\t'--kubelet-arg' \\\n\t'max-pods=200' \\\n\n[Install]\nWantedBy=multi-user.target\n";

    #[test]
    fn a_hand_made_servers_words_are_read_as_its_configuration() {
        let config = as_config(&arguments(BY_HAND));
        let wanted = json!({
            "cluster-init": true,
            "tls-san": ["192.168.137.2", "k3s.example"],
            "disable": ["traefik", "servicelb"],
            "kubelet-arg": "max-pods=200",
        });
        assert_eq!(Value::Object(config), wanted);
    }

    #[test]
    fn what_would_overrule_the_configuration_is_named_without_its_value() {
        let ours = "ExecStart=/usr/local/bin/k3s \\\n    server \\\n\n";
        assert_eq!(overrules(ours, "LANG='x'\n"), None);
        assert_eq!(overrules(ours, ""), None);
        // A proxy that the install script left there would stay, whatever cluster.toml says by now.
        assert_eq!(overrules(ours, "CONTAINERD_HTTPS_PROXY='x'\n"), None);
        for name in ["HTTP_PROXY", "no_proxy"] {
            let said = overrules(ours, &format!("{name}='x'\n")).unwrap();
            assert!(said.contains(name), "{said}");
        }
        let told = overrules(ours, "K3S_TOKEN='5ecre7'\n").unwrap();
        assert!(
            told.contains("K3S_TOKEN") && !told.contains("5ecre7"),
            "{told}"
        );
        assert!(overrules(BY_HAND, "").unwrap().contains("--cluster-init"));
    }
}
