//! What servers were told beyond slicer-k3s's own settings: nothing of it is lost, and no password is shown.

use super::*;
use crate::k3s::DropIn;

/// One server's own settings, in a file that its owner wrote.
fn told(config: &str, drop_in: &str, arguments: &[&str]) -> Findings {
    let mut plan = plan();
    // Not a real one.
    plan.ssh_keys.clear();
    let mut findings = findings(&plan, &Secrets::generate("home").unwrap());
    for (_, facts) in &mut findings.servers {
        facts.config = Secret::new(format!("token: 5e7ve7\n{config}"));
        facts.drop_ins = vec![DropIn {
            name: "10-own.yaml".into(),
            text: Secret::new(drop_in),
        }];
        facts.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    }
    findings
}

fn file(findings: &Findings, extras: &(Value, Value)) -> ClusterFile {
    let map = |value: &Value| value.as_object().cloned().unwrap_or_default();
    text(findings, &(map(&extras.0), map(&extras.1))).unwrap()
}

/// Root's 0600 files became a file for all to read, and lines at the terminal.
#[test]
fn settings_and_values_are_private_and_shown_by_their_names() {
    let none = (Value::Null, Value::Null);
    let args = (json!({"cloud-config-password": "5ecre7-a"}), Value::Null);
    let env = json!({"extraEnv": [{"name": "DB_PASSWORD", "value": "5ecre7-a"}]});
    for (config, extras, name) in [
        (
            "etcd-s3-secret-key: 5ecre7-a\n",
            &none,
            "etcd-s3-secret-key",
        ),
        (
            "kube-apiserver-arg: [oidc-password=5ecre7-a]\n",
            &none,
            "kube-apiserver-arg",
        ),
        ("x: {y: [5ecre7-a]}\n", &none, "x"),
        ("", &args, "cloud-config-password"),
        ("", &(Value::Null, env), "extraEnv"),
    ] {
        let file = file(&told(config, "", &[]), extras);
        assert!(
            file.private && file.text.contains("5ecre7-a"),
            "{}",
            file.text
        );
        assert!(!file.shown.contains("5ecre7"), "{}", file.shown);
        assert!(file.shown.contains(name), "{}", file.shown);
        assert!(config::parse(&file.text, "x").is_ok(), "{}", file.text);
    }
    let plain = file(&told("", "", &[]), &none);
    assert!(!plain.private, "{}", plain.text);
}

/// What a flag names a password stays out of logs, wherever it is said.
#[test]
fn passwords_of_settings_are_kept_out_of_logs() {
    let none = (Value::Null, Value::Null);
    let config = "kube-apiserver-arg: [oidc-password=5ecre7-in-a-list]\n";
    file(&told(config, "", &[]), &none);
    let text = crate::secret::redact("it said 5ecre7-in-a-list").into_owned();
    assert!(!text.contains("5ecre7"), "{text}");
}

/// `disable: traefik` was lost, and the next `init` deployed Traefik again.
#[test]
fn scalars_drop_ins_and_flags_are_taken_over() {
    let findings = told(
        "disable: traefik,metrics-server\ntls-san: lb.example\nnode-taint: a=b:NoExecute\n",
        "disable+: servicelb\nkubelet-arg: max-pods=9\n",
        &["--tls-san=vip.example", "--kubelet-arg=v=2"],
    );
    let file = file(&findings, &(Value::Null, Value::Null));
    let config = config::parse(&file.text, "x").unwrap();
    assert_eq!(
        config.k3s.disable,
        ["traefik", "metrics-server", "servicelb"]
    );
    assert_eq!(config.control_plane.tls_san, ["lb.example", "vip.example"]);
    assert_eq!(
        config.k3s.server_args["kubelet-arg"],
        json!(["max-pods=9", "v=2"])
    );
    // Another taint is not ours, and not silently lost.
    assert!(!config.control_plane.taint);
    assert!(file.shown.contains("a=b:NoExecute"), "{}", file.shown);
    let own = told(&format!("node-taint: {}\n", k3s::SERVER_TAINT), "", &[]);
    let own = super::text(&own, &Default::default()).unwrap();
    assert!(config::parse(&own.text, "x").unwrap().control_plane.taint);
}

/// It was lost without a word; its value may be a password.
#[test]
fn a_setting_that_is_not_taken_over_is_named() {
    let findings = told(
        "write-kubeconfig-mode: \"0644\"\ntoken-file: /root/5ecre7\n",
        "",
        &["--datastore-endpoint=postgres://me:5ecre7@db"],
    );
    let file = file(&findings, &(Value::Null, Value::Null));
    for key in ["write-kubeconfig-mode", "token-file", "datastore-endpoint"] {
        let line = format!("# {key}: not taken over");
        assert!(file.shown.contains(&line), "{}", file.shown);
    }
    assert!(!file.text.contains("5ecre7"), "{}", file.text);
    assert!(config::parse(&file.text, "x").is_ok(), "{}", file.text);
    // What slicer-k3s writes itself is no news.
    let own = told(
        "write-kubeconfig-mode: \"0600\"\ncluster-init: true\n",
        "",
        &[],
    );
    let own = super::text(&own, &Default::default()).unwrap();
    assert!(!own.text.contains("not taken over"), "{}", own.text);
}

/// The parser's words may quote a token.
#[test]
fn a_file_that_cannot_be_read_is_refused_without_its_text() {
    for (config, drop_in, path) in [
        ("a: [5ecre7", "", k3s::CONFIG_PATH),
        ("", "a: [5ecre7", "config.yaml.d/10-own.yaml"),
    ] {
        let failure = told(config, drop_in, &[]).state().unwrap_err();
        let told = format!("{failure} {}", failure.hint.clone().unwrap());
        assert!(told.contains(path) && !told.contains("5ecre7"), "{told}");
    }
}
