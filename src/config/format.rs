//! Formats of single values: what a label, a network, an SSH target may look like.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

/// Why a text is not what it should be, and what to write instead.
pub type Complaint = (String, Option<String>);

fn no<T>(why: impl Into<String>) -> Result<T, Complaint> {
    Err((why.into(), None))
}

fn no_but<T>(why: impl Into<String>, instead: impl Into<String>) -> Result<T, Complaint> {
    Err((why.into(), Some(instead.into())))
}

/// One line without control characters, not empty: safe in every file that we write.
pub(super) fn line(text: &str) -> Result<(), Complaint> {
    if text.trim().is_empty() {
        return no("must not be empty");
    }
    if text.chars().any(char::is_control) {
        return no("must be one line without control characters");
    }
    if text.len() > 4096 {
        return no("is longer than 4096 bytes");
    }
    Ok(())
}

/// A DNS label: what host, group and cluster names become part of.
pub(super) fn label(text: &str, longest: usize) -> Result<(), Complaint> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.is_empty() {
        return no("must not be empty");
    }
    if text.len() > longest {
        return no(format!(
            "has {} characters; {longest} are allowed",
            text.chars().count()
        ));
    }
    if text.chars().all(|c| plain(c) || c == '-')
        && text.starts_with(plain)
        && text.ends_with(plain)
    {
        return Ok(());
    }
    let tamed: String = text
        .to_lowercase()
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    let tamed = tamed.trim_matches('-');
    let why = "may hold a–z, 0–9 and inner dashes only";
    if tamed.is_empty() {
        return no(why);
    }
    no_but(why, format!("for example \"{tamed}\""))
}

/// A user name or host name that neither a shell nor ssh's option parser can take for something else.
fn word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A user's name, which may be one of a directory service: `DOMAIN\user`, `user@domain`.
fn user(text: &str) -> bool {
    let plain = |c: char| if "@\\+".contains(c) { '_' } else { c };
    !text.starts_with(['@', '\\', '+']) && word(&text.chars().map(plain).collect::<String>())
}

/// A host name, or an address, IPv6 also in brackets and with its zone: `fe80::1%eth0`.
fn host(text: &str) -> bool {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let zoned = bare.split_once('%').is_some_and(|(address, zone)| {
        address.parse::<Ipv6Addr>().is_ok() && word(zone) && zone.len() <= 15
    });
    word(text) || zoned || bare.parse::<IpAddr>().is_ok()
}

/// `[user@]host`, an alias, or `local`.
pub(super) fn ssh(text: &str) -> Result<(), Complaint> {
    if let Some(rest) = text.strip_prefix("ssh://") {
        return no_but("is not written as a URL", format!("\"{rest}\""));
    }
    let (name, target) = match text.rsplit_once('@') {
        Some((name, target)) => (Some(name), target),
        None => (None, text),
    };
    if name.is_some_and(|name| !user(name)) {
        return no("has a user name with characters that are not allowed");
    }
    if host(target) {
        return Ok(());
    }
    if let Some((name, port)) = target.rsplit_once(':')
        && host(name)
        && port.parse::<u16>().is_ok()
    {
        return no_but("holds a port", format!("write `port = {port}` beside it"));
    }
    no("is not `[user@]host`, an alias of your SSH configuration, or `local`")
}

/// `[user@]host` and the port of `[user@]host[:port]`.
pub(super) fn split_port(text: &str) -> (&str, Option<u16>) {
    // An IPv6 address without brackets is one, and not a name with a port.
    if ssh(text).is_ok() {
        return (text, None);
    }
    let split = text.rsplit_once(':').and_then(|(target, port)| {
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        ssh(target).is_ok().then_some((target, port))
    });
    split.map_or((text, None), |(target, port)| (target, Some(port)))
}

/// Comma-separated `[user@]host[:port]`.
pub(super) fn jump(text: &str) -> Result<(), Complaint> {
    for hop in text.split(',') {
        let name = match hop.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => name,
            _ => hop,
        };
        let (login, target) = name.rsplit_once('@').unwrap_or(("user", name));
        if !user(login) || !host(target) {
            return no("is not `[user@]host[:port]`, separated by commas");
        }
    }
    Ok(())
}

/// An absolute path that a unit file takes as it is: nothing in it splits, expands or quotes.
pub(crate) fn is_plain_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= 1024
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/._+@:-".contains(&b))
}

/// An absolute path on a host.
pub(super) fn remote_path(text: &str) -> Result<(), Complaint> {
    if is_plain_path(text) {
        return Ok(());
    }
    no_but(
        "must be an absolute path without blanks or signs",
        "\"/root/.slicer/LICENSE\"",
    )
}

/// A private network with no bit set beyond its prefix.
pub(super) fn network(text: &str) -> Result<Ipv4Net, Complaint> {
    let Ok(net) = text.parse::<Ipv4Net>() else {
        return no("is not an IPv4 network, such as \"192.168.137.0/24\"");
    };
    if !private(net.addr()) || !private(net.broadcast()) {
        return no("is not private (10/8, 172.16/12, 192.168/16 or 100.64/10)");
    }
    if net.trunc() != net {
        return no_but("has bits beyond its prefix", format!("\"{}\"", net.trunc()));
    }
    if !(8..=28).contains(&net.prefix_len()) {
        return no("must be between /8 and /28");
    }
    Ok(net)
}

/// A private or carrier-grade address.
pub(super) fn address(text: &str) -> Result<Ipv4Addr, Complaint> {
    match text.parse::<Ipv4Addr>() {
        Ok(address) if private(address) => Ok(address),
        Ok(_) => no("is not private (10/8, 172.16/12, 192.168/16 or 100.64/10)"),
        Err(_) => no("is not an IPv4 address"),
    }
}

/// RFC 1918, and RFC 6598 which overlays use.
fn private(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || (a == 100 && (64..128).contains(&b))
}

/// `SHA256:` and 43 characters of base64, as ssh-keygen -l prints.
pub(super) fn fingerprint(text: &str) -> Result<(), Complaint> {
    let ok = text.strip_prefix("SHA256:").is_some_and(|rest| {
        let rest = rest.trim_end_matches('=');
        rest.len() == 43
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    });
    if ok {
        return Ok(());
    }
    no_but(
        "is not a SHA256 fingerprint",
        "on that host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
    )
}

/// `v1.34.4+k3s1`, release candidates included.
pub(super) fn version(text: &str) -> Result<(), Complaint> {
    let parsed = text
        .strip_prefix('v')
        .and_then(|rest| semver::Version::parse(rest).ok());
    if parsed.is_some_and(|version| version.build.as_str().starts_with("k3s")) {
        return Ok(());
    }
    no("is not a k3s version, such as \"v1.34.4+k3s1\"")
}

/// A release channel of k3s, such as `stable` or `v1.34`: it becomes part of a URL's path.
pub(super) fn channel(text: &str) -> Result<(), Complaint> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.len() <= 64 && text.bytes().all(plain) && text.bytes().any(|b| b != b'.') {
        return Ok(());
    }
    no_but(
        "is not a channel of k3s",
        "\"stable\", \"latest\" or one such as \"v1.34\"",
    )
}

/// A DNS name, its first label a `*` perhaps, or an address: what a certificate can name.
pub(super) fn name(text: &str) -> Result<(), Complaint> {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels = text.strip_prefix("*.").unwrap_or(text);
    let dns = text.len() <= 253 && labels.split('.').all(label);
    if dns || text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    no_but(
        "is neither a DNS name nor an address",
        "without `https://` and port",
    )
}

/// An `https://` or `http://` URL without blanks.
pub(super) fn url(text: &str) -> Result<(), Complaint> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)) {
        return Ok(());
    }
    no("is not an https:// or http:// URL without blanks")
}

/// One line of an `authorized_keys` file, without options.
pub(super) fn public_key(text: &str) -> Result<(), Complaint> {
    if text.contains("PRIVATE KEY") {
        return no_but(
            "is a private key: it must not stand here",
            "the content of the .pub file beside it",
        );
    }
    line(text)?;
    if russh::keys::ssh_key::PublicKey::from_openssh(text.trim()).is_ok() {
        return Ok(());
    }
    no("is not a public SSH key, such as \"ssh-ed25519 AAAA… you@laptop\"")
}
