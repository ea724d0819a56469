//! Reads a found Slicer daemon's YAML for what it occupies; whatever cannot be read is left out.
//!
//! Source of its keys, here, in `generate::host_yaml` and in `import::hand_made`: slicervm/docs.slicervm.com@05085f9
//! docs/reference/config.md.

use ipnet::Ipv4Net;
use serde_json::Value;

use super::FoundDaemon;

/// Adds what the YAML says to a daemon.
pub(super) fn read_yaml(daemon: &mut FoundDaemon, text: &str) {
    let Ok(document) = serde_saphyr::from_str::<Value>(text) else {
        return;
    };
    let config = &document["config"];
    daemon.api_port = config["api"]["port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0);
    let groups = config["host_groups"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    for group in groups.iter().take(100) {
        let text = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            let plain = !text.is_empty() && text.len() <= 63 && !text.contains(char::is_control);
            plain.then(|| text.to_owned())
        };
        let network = &group["network"];
        daemon.groups.extend(text(&group["name"]));
        daemon.tap_prefixes.extend(text(&network["tap_prefix"]));
        daemon
            .networks
            .extend(text(&network["gateway"]).and_then(|gateway| gateway.parse::<Ipv4Net>().ok()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_occupies_is_read() {
        let mut daemon = FoundDaemon::default();
        read_yaml(
            &mut daemon,
            "config:\n  host_groups:\n  - name: vm\n    count: 1\n    network:\n      bridge: brvm0\n      tap_prefix: vmtap\n      gateway: 192.168.137.1/24\n  api:\n    port: 8080\n",
        );
        assert_eq!(daemon.groups, ["vm"]);
        assert_eq!(daemon.tap_prefixes, ["vmtap"]);
        assert_eq!(daemon.networks[0].trunc().to_string(), "192.168.137.0/24");
        assert_eq!(daemon.api_port, Some(8080));
    }

    #[test]
    fn nonsense_occupies_nothing() {
        for text in ["", "config: 3", "a: [", "config:\n  host_groups: {name: x}"] {
            let mut daemon = FoundDaemon::default();
            read_yaml(&mut daemon, text);
            assert_eq!(daemon, FoundDaemon::default(), "{text}");
        }
    }
}
