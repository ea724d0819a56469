//! What a person runs to upgrade a server.

use super::Release;
use crate::names::k3s::INSTALLER_URL;

/// The commands that bring a server to a release, the last one to `to`. k3s supports no step over a minor version, so each
/// minor version in between comes first, by its channel. Each command ends when k3s is up again.
///
/// Source: k3s's manual of upgrades; its install script replaces the program and restarts the service, and with these words
/// it writes the unit that `init` makes it write. `behind_proxy`: the servers' environment names a proxy.
pub fn upgrade(server: &str, from: &Release, to: &Release, behind_proxy: bool) -> Vec<String> {
    let environment = if behind_proxy {
        format!("set -a; . {}; ", super::ENVIRONMENT_PATH)
    } else {
        String::new()
    };
    let (major, minor) = (to.kubernetes().major, to.kubernetes().minor);
    let between = from.kubernetes().minor.saturating_add(1)..minor;
    let between = between.map(|minor| format!("INSTALL_K3S_CHANNEL=v{major}.{minor}"));
    between
        .chain([format!("INSTALL_K3S_VERSION={to}")])
        .map(|which| {
            format!(
                "slicer-k3s exec {server} -- sh -c '{environment}curl -sfL {INSTALLER_URL} | {which} \
                 INSTALL_K3S_EXEC=server sh -'"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(text: &str) -> Release {
        Release::parse(text).unwrap()
    }

    #[test]
    fn no_minor_version_is_stepped_over() {
        let old = release("v1.34.4+k3s1");
        let command = |which: &str| {
            format!(
                "slicer-k3s exec k3s-cp-2 -- sh -c 'curl -sfL https://get.k3s.io | {which} INSTALL_K3S_EXEC=server sh -'"
            )
        };
        for (to, commands) in [
            ("v1.34.5+k3s1", vec!["INSTALL_K3S_VERSION=v1.34.5+k3s1"]),
            ("v1.35.0+k3s1", vec!["INSTALL_K3S_VERSION=v1.35.0+k3s1"]),
            (
                "v1.36.1+k3s2",
                vec![
                    "INSTALL_K3S_CHANNEL=v1.35",
                    "INSTALL_K3S_VERSION=v1.36.1+k3s2",
                ],
            ),
        ] {
            let commands: Vec<String> = commands.into_iter().map(command).collect();
            assert_eq!(upgrade("k3s-cp-2", &old, &release(to), false), commands);
        }
        let proxied = upgrade("k3s-cp-2", &old, &release("v1.34.5+k3s1"), true);
        assert!(
            proxied[0].contains("'set -a; . /etc/default/k3s; curl"),
            "{proxied:?}"
        );
    }
}
