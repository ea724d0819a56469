//! Every key of cluster.toml, described once: reading, the reference page and the schema all come from this table.

/// What a key's value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A DNS label of at most this many characters.
    Label(usize),
    /// One line of text.
    Text,
    /// A list of lines of text.
    Texts,
    /// A list of DNS names and addresses.
    Names,
    /// A list of host names of this file.
    HostNames,
    /// `[user@]host`, an alias of the SSH configuration, or `local`.
    Ssh,
    /// Comma-separated `[user@]host[:port]`.
    Jump,
    /// A TCP port.
    Port,
    /// A whole number within these bounds.
    Number(u32, u32),
    /// `true` or `false`.
    Flag,
    /// A private IPv4 network.
    Network,
    /// A private IPv4 address.
    Address,
    /// `SHA256:` and 43 characters of base64.
    Fingerprint,
    /// A path on this workstation, `~` allowed.
    Path,
    /// An absolute path on a host, of characters that a unit file takes as they are.
    RemotePath,
    /// A k3s version, such as `v1.34.4+k3s1`.
    Version,
    /// A release channel of k3s: one part of a URL's path.
    Channel,
    /// An `https://` or `http://` URL.
    Url,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Lines of an `authorized_keys` file.
    PublicKeys,
    /// A table whose keys are somebody else's.
    Free,
    /// `true`, `false`, or a table of the keys below it.
    FlagOrSection,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands; `NAME` stands for any host's name.
    pub path: &'static str,
    /// What it must look like.
    pub kind: Kind,
    /// The default as TOML, where there is one that does not depend on other things.
    pub default: Option<&'static str>,
    /// What it is for, one sentence.
    pub doc: &'static str,
}

const fn key(
    path: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default,
        doc,
    }
}

/// Expanders that work with the Slicer provider.
pub const EXPANDERS: [&str; 4] = ["random", "most-pods", "least-waste", PRIORITY];

/// The expander that grows the group of highest priority.
pub const PRIORITY: &str = "priority";

/// Longest name of a cluster.
pub const CLUSTER_NAME: usize = 30;

/// Longest group name: the bridge `br<group>0` must fit the kernel's 15 characters.
pub const GROUP_LENGTH: usize = 12;

/// Longest tap prefix: leaves four digits within the kernel's 15 characters.
pub const TAP_LENGTH: usize = 11;

use Kind::{
    Address, Channel, Fingerprint, Flag, FlagOrSection, Free, HostNames, Jump, Label, Names,
    Network, Number, OneOf, Path, Port, PublicKeys, RemotePath, Ssh, Text, Texts, Url, Version,
};

/// The whole of cluster.toml.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("name", Label(CLUSTER_NAME), None, "The cluster's name; its state directory and its directories on the hosts carry it."),
    key("ssh-keys", PublicKeys, Some("[]"), "Public SSH keys that may log in to the server VMs, besides the cluster's own."),

    key("control-plane.host", Label(40), None, "The host that runs every server (the only host, where there is one)."),
    key("control-plane.hosts", HostNames, None, "The hosts that run the servers: one for all of them, or one host for each."),
    key("control-plane.servers", Number(1, 5), None, "How many servers: 1, 3 or 5; by default 3, or one for each of `hosts`."),
    key("control-plane.cpu", Number(1, 64), Some("2"), "vCPUs of a server."),
    key("control-plane.ram-gb", Number(1, 512), Some("4"), "RAM of a server, GiB."),
    key("control-plane.storage-gb", Number(5, 4096), Some("25"), "Disk of a server, GB."),
    key("control-plane.cidr", Network, None, "The servers' network; by default the first free /24 from 192.168.137.0 on."),
    key("control-plane.api-port", Port, None, "Port of the control plane's Slicer API, bound to loopback; by default the first free one from 8080 on."),
    key("control-plane.group", Label(GROUP_LENGTH), Some("\"k3s-cp\""), "Name of the control plane's host group; servers are called `<group>-1` and so on."),
    key("control-plane.taint", Flag, Some("false"), "Whether servers refuse ordinary pods."),
    key("control-plane.tls-san", Names, Some("[]"), "More names and addresses for the API's certificate."),

    key("hosts.NAME.ssh", Ssh, None, "How to reach it: `[user@]host`, an alias of your SSH configuration, or `local` for this machine."),
    key("hosts.NAME.port", Port, None, "Its SSH port; by default what your SSH configuration says, else 22."),
    key("hosts.NAME.key-file", Path, None, "The private key to log in with; by default the agent's keys and those of your SSH configuration."),
    key("hosts.NAME.jump", Jump, None, "The machines to go through, `[user@]host[:port]`, separated by commas."),
    key("hosts.NAME.host-key", Fingerprint, None, "The fingerprint of its SSH host key, where it is not in known_hosts."),
    key("hosts.NAME.sudo-password-file", Path, None, "A file holding the password that sudo asks for."),
    key("hosts.NAME.lan-address", Address, None, "The address by which the other hosts reach it; by default the one that SSH used."),
    key("hosts.NAME.licence-file", RemotePath, None, "Slicer's licence on that host; by default the one found in the SSH user's or root's home."),
    key("hosts.NAME.share-daemon", Flag, Some("false"), "Whether its agents' group is served by the daemon of its servers, for a licence that counts daemons: a change of the agents' sizes then restarts the servers, too. Decided when the group is made."),
    key("hosts.NAME.workers", FlagOrSection, None, "Whether it runs agents, or how; by default yes on every host without servers, and on an only host."),
    key("hosts.NAME.workers.cpu", Number(1, 64), Some("2"), "vCPUs of an agent."),
    key("hosts.NAME.workers.ram-gb", Number(1, 512), Some("4"), "RAM of an agent, GiB."),
    key("hosts.NAME.workers.storage-gb", Number(5, 4096), Some("25"), "Disk of an agent, GB."),
    key("hosts.NAME.workers.min", Number(0, 250), Some("0"), "Fewest agents."),
    key("hosts.NAME.workers.max", Number(1, 250), None, "Most agents; by default what the host's RAM and cores allow."),
    key("hosts.NAME.workers.priority", Number(0, 1000), Some("0"), "Which group grows first where `autoscaler.expander` is `priority`: the one of the highest number with room left."),
    key("hosts.NAME.workers.group", Label(GROUP_LENGTH), None, "Name of its host group; by default the first free of `k3s-agent-1`, `k3s-agent-2` and so on."),
    key("hosts.NAME.workers.cidr", Network, None, "The agents' network; by default the next free /24."),
    key("hosts.NAME.workers.api-port", Port, None, "Port of its Slicer API; by default the first free one from 8081 on."),
    key("hosts.NAME.workers.tap-prefix", Label(TAP_LENGTH), None, "Prefix of its VMs' tap interfaces; by default `k3sa` and a number."),

    key("k3s.version", Version, None, "The exact k3s version of every server; by default what the channel says at the first run."),
    key("k3s.channel", Channel, Some("\"stable\""), "The k3s release channel that is resolved once, at the first run."),
    key("k3s.cluster-cidr", Network, Some("\"10.42.0.0/16\""), "Pods' network; cannot be changed later."),
    key("k3s.service-cidr", Network, Some("\"10.43.0.0/16\""), "Services' network; cannot be changed later."),
    key("k3s.disable", Texts, Some("[]"), "Packaged components to leave out, such as `traefik`."),
    key("k3s.addons-on-servers", Flag, Some("true"), "Whether CoreDNS, metrics-server, local-path-provisioner and Traefik, which k3s packages, run on servers only: on an agent one of their pods keeps the agent from being removed."),
    key("k3s.registries", Free, None, "k3s's registries.yaml on every server: `mirrors` and `configs`; agents, which the autoscaler makes, do not get it."),
    key("k3s.http-proxy", Url, None, "The servers' proxy for plain HTTP: for k3s, its installation and what it downloads."),
    key("k3s.https-proxy", Url, None, "The same for HTTPS."),
    key("k3s.no-proxy", Texts, Some("[]"), "What the servers reach without a proxy, besides the cluster's own networks."),
    key("k3s.server-args", Free, None, "More keys of k3s's config.yaml on every server."),

    key("autoscaler.chart-version", Text, Some("\"9.52.1\""), "Version of the cluster-autoscaler chart."),
    key("autoscaler.chart-repo", Url, Some("\"https://kubernetes.github.io/autoscaler\""), "Where the chart comes from."),
    key("autoscaler.image", Text, Some("\"ghcr.io/openfaasltd/cluster-autoscaler-slicer\""), "The autoscaler's image: only this one knows Slicer."),
    key("autoscaler.tag", Text, Some("\"latest\""), "Tag of that image."),
    key("autoscaler.expander", OneOf(&EXPANDERS), Some("\"random\""), "How the group to grow is chosen; `priority` goes by the workers' `priority`, which `init` writes into the ConfigMap that it reads."),
    key("autoscaler.args", Free, None, "More flags of the autoscaler, without dashes, each with one value; one that is given several times has keys with _1, _2 and so on appended."),
    key("autoscaler.values", Free, None, "More Helm values, merged over ours."),
];

/// The key at this pattern.
pub fn at(pattern: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == pattern)
}

/// The names that may stand directly below this pattern.
pub fn below(pattern: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let rest = if pattern.is_empty() {
            Some(key.path)
        } else {
            key.path
                .strip_prefix(pattern)
                .and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(name) = rest.and_then(|rest| rest.split('.').next()) else {
            continue;
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_once_in_one_sentence() {
        for (n, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS.iter().skip(n + 1).all(|other| other.path != key.path),
                "{} twice",
                key.path
            );
            assert!(key.doc.ends_with('.'), "{}", key.path);
        }
    }

    #[test]
    fn names_below_a_section_are_found() {
        assert_eq!(
            below(""),
            [
                "name",
                "ssh-keys",
                "control-plane",
                "hosts",
                "k3s",
                "autoscaler"
            ]
        );
        assert_eq!(below("hosts"), ["NAME"]);
        assert!(below("hosts.NAME.workers").contains(&"min"));
        assert!(below("name").is_empty());
    }
}
