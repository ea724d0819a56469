//! Registries and proxies of the servers in the cluster.toml that an import makes.

use super::*;

fn with(registries: &str, environment: &str) -> Findings {
    let mut plan = plan();
    // Not a real one.
    plan.ssh_keys.clear();
    let mut findings = findings(&plan, &Secrets::generate("home").unwrap());
    let (_, facts) = &mut findings.servers[1];
    facts.registries = Secret::new(registries);
    facts.environment = Secret::new(environment);
    findings
}

fn file(registries: &str, environment: &str) -> ClusterFile {
    text(&with(registries, environment), &Default::default()).unwrap()
}

/// They are in the file, and not in what is printed of it.
#[test]
fn passwords_are_written_and_not_shown() {
    let configs = "configs:\n  a.lan:\n    auth:\n      username: me\n      password: 5ecre7-a\n";
    let mirror = "mirrors:\n  a.lan:\n    endpoint: [\"https://me:5ecre7-a@b.lan\"]\n";
    for (registries, environment) in [
        (configs, ""),
        (mirror, ""),
        ("", "HTTP_PROXY='http://me:5ecre7-a@10.0.0.1:3128'\n"),
    ] {
        let file = file(registries, environment);
        assert!(
            file.text.contains("5ecre7-a") && file.private,
            "{}",
            file.text
        );
        assert!(!file.shown.contains("5ecre7"), "{}", file.shown);
        assert!(config::parse(&file.text, "x").is_ok(), "{}", file.text);
    }
    let plain = file(
        "mirrors:\n  a.lan:\n    endpoint: [\"https://b.lan\"]\n",
        "",
    );
    assert!(!plain.private);
    assert_eq!(plain.text, plain.shown);
}

#[test]
fn a_hand_made_servers_registries_and_proxies_are_written_as_cluster_toml_says_them() {
    // The forms that k3s's documentation and its install script have.
    let file = file(
        "mirrors:\n  docker.io:\n  \"*\":\n    endpoint:\n      - https://b.lan\nconfigs:\n",
        "https_proxy=\"10.0.0.1:3128\"\nHTTP_PROXY=socks5://10.0.0.1\nNO_PROXY='10.0.0.0/8,.svc, git.lan,git.lan'\n",
    );
    let config = config::parse(&file.text, "x").unwrap();
    let k3s = config.k3s;
    assert_eq!(k3s.https_proxy.as_deref(), Some("http://10.0.0.1:3128"));
    // Of a kind that cluster.toml does not have: said, and left where it is.
    assert!(k3s.http_proxy.is_none() && file.text.contains("# http-proxy"));
    assert_eq!(k3s.no_proxy, ["git.lan"]);
    let wanted = json!({"docker.io": {}, "*": {"endpoint": ["https://b.lan"]}});
    assert_eq!(k3s.registries["mirrors"], wanted);
}

/// Without a proxy nothing is reached past it.
#[test]
fn what_the_servers_do_not_have_is_not_written() {
    let file = file("", "NO_PROXY=git.lan\nLANG=C\n");
    for word in ["proxy", "registries"] {
        assert!(!file.text.contains(word), "{}", file.text);
    }
}

/// The parser's words may quote a password.
#[test]
fn registries_that_cannot_be_read_are_refused_without_their_text() {
    for text in ["a: [5ecre7-a", "5ecre7-a", "auths:\n  a: 5ecre7-a\n"] {
        let failure = super::text(&with(text, ""), &Default::default()).unwrap_err();
        let told = format!("{failure} {}", failure.hint.clone().unwrap());
        assert!(
            told.contains("registries.yaml") && !told.contains("5ecre7"),
            "{told}"
        );
    }
}

/// Whatever lies there.
#[test]
fn fuzz_surroundings() {
    const SAMPLES: &[&str] = &[
        "mirrors:\n  docker.io:\n    endpoint: [x]\nconfigs: {a: {auth: {password: b}}}\n",
        "HTTPS_PROXY='http://a:1'\nNO_PROXY=\"a, b\"\n",
    ];
    let plan = plan();
    let secrets = Secrets::generate("home").unwrap();
    crate::fuzz::fuzz("surroundings", SAMPLES, move |told| {
        let mut findings = findings(&plan, &secrets);
        findings.servers[0].1.registries = Secret::new(told);
        findings.servers[0].1.environment = Secret::new(told);
        let written = text(&findings, &Default::default());
        written.map_or_else(
            |failure| vec![crate::escape::escape(&failure.to_string())],
            |file| {
                let lines = file.shown.lines();
                lines.map(crate::escape::escape).collect()
            },
        )
    });
}
