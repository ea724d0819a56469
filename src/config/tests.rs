use insta::assert_snapshot;

use super::*;

#[test]
fn fuzz_cluster_toml() {
    const SAMPLES: &[&str] = &[
        TWO,
        "name='x'\nssh-keys=['ssh-ed25519 AAAA me']\n[control-plane]\nhosts=['a','b','c']\ncpu=2\nram-gb=4\ncidr='192.168.137.0/24'\ntaint=true\ntls-san=['k3s.lan','10.0.0.9']\n[hosts.a]\nssh='local'\n[hosts.b]\nssh='me@b'\nport=2222\njump='j@k:22,l'\nhost-key='SHA256:abc'\nlan-address='192.168.1.9'\nworkers={min=1,max=4,group='g',tap-prefix='t'}\n[hosts.c]\nssh='c'\nworkers=false\n",
        "name='x'\n[control-plane]\nhost='a'\nservers=3\n[hosts.a]\nssh='a'\n[k3s]\nversion='v1.34.4+k3s1'\ncluster-cidr='10.42.0.0/16'\ndisable=['traefik']\n[k3s.server-args]\nkubelet-arg=['a=b']\n[autoscaler]\nexpander='random'\n[autoscaler.args]\nv=4\n[autoscaler.values.resources]\nlimits={cpu='1'}\n",
    ];
    crate::fuzz::fuzz("cluster_toml", SAMPLES, |text| {
        match parse(text, "cluster.toml") {
            // What is accepted can be planned, or is refused in words.
            Ok(config) => match crate::plan::assumed(&config) {
                Ok((_, words)) => vec![crate::escape::escape(&words)],
                Err(failures) => shown(&failures),
            },
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a word");
                let failures: Vec<_> = problems.into_iter().map(Into::into).collect();
                shown(&failures)
            }
        }
    });
}

fn shown(failures: &[crate::failure::Failure]) -> Vec<String> {
    failures
        .iter()
        .map(|failure| crate::escape::escape(&failure.to_string()))
        .collect()
}

const TWO: &str = r#"
name = "home"
[control-plane]
host = "n100"
[hosts.n100]
ssh = "alex@192.168.1.11"
[hosts.pi5]
ssh = "pi@192.168.1.13"
"#;

fn told(text: &str) -> String {
    match parse(text, "cluster.toml") {
        Ok(_) => "nothing wrong".to_owned(),
        Err(problems) => problems
            .iter()
            .map(|problem| match &problem.hint {
                Some(hint) => format!("{problem} ({hint})"),
                None => problem.to_string(),
            })
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

#[test]
fn two_hosts_fit_in_ten_lines_and_the_defaults_are_the_manuals() {
    let config = parse(TWO, "cluster.toml").unwrap();
    assert!(TWO.trim().lines().count() <= 10);
    assert_eq!(config.control_plane.servers, 3);
    assert_eq!(config.control_plane.hosts, ["n100"]);
    assert_eq!(
        (config.control_plane.cpu, config.control_plane.ram_gb),
        (2, 4)
    );
    assert!(config.hosts[0].workers.is_none());
    assert_eq!(config.hosts[1].workers.as_ref().unwrap().max, None);
    assert_eq!(config.k3s.cluster_cidr.to_string(), "10.42.0.0/16");
    assert_eq!(config.autoscaler.expander, "random");
}

#[test]
fn an_only_host_runs_servers_and_agents() {
    let config = parse("name = 'x'\n[hosts.box]\nssh = 'local'", "c").unwrap();
    assert_eq!(config.hosts[0].ssh, Ssh::Local);
    assert_eq!(config.control_plane.hosts, ["box"]);
    assert!(config.hosts[0].workers.is_some());
}

#[test]
fn hosts_keep_the_files_order() {
    let text = "name='x'\ncontrol-plane.host='z'\n[hosts.z]\nssh='z'\n[hosts.a]\nssh='a'";
    let config = parse(text, "c").unwrap();
    let names: Vec<_> = config.hosts.iter().map(|host| &host.name).collect();
    assert_eq!(names, ["z", "a"]);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    assert_snapshot!(told(r#"
name = "Home Lab"
colour = "red"
[control-plane]
server = 3
cpu = "2"
[hosts.n100]
ssh = "-oProxyCommand=id"
port = 70000
worker = true
[hosts.pi_5]
ssh = "pi@192.168.1.13:22"
host-key = "MD5:00"
workers = { ram_gb = 4, cidr = "192.168.138.1/24", group = "k3s-agents-10" }
[autoscaler]
expander = "price"
"#), @r#"
    cluster.toml:2:8: `name` may hold a–z, 0–9 and inner dashes only (for example "home-lab")
    cluster.toml:3:1: unknown key `colour` (known here: name, ssh-keys, control-plane, hosts, k3s, autoscaler)
    cluster.toml:4:2: which host runs the servers? ([control-plane] with a line `host = "n100"`)
    cluster.toml:5:1: unknown key `server` (did you mean `servers`?)
    cluster.toml:6:7: `control-plane.cpu` must be a whole number, not a text
    cluster.toml:8:7: `hosts.n100.ssh` is not `[user@]host`, an alias of your SSH configuration, or `local`
    cluster.toml:9:8: `hosts.n100.port` must be between 1 and 65535
    cluster.toml:10:1: unknown key `worker` (did you mean `workers`?)
    cluster.toml:11:8: host name `pi_5` may hold a–z, 0–9 and inner dashes only (for example "pi-5")
    cluster.toml:12:7: `hosts.pi_5.ssh` holds a port (write `port = 22` beside it)
    cluster.toml:13:12: `hosts.pi_5.host-key` is not a SHA256 fingerprint (on that host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)
    cluster.toml:14:13: unknown key `ram_gb` (did you mean `ram-gb`?)
    cluster.toml:14:32: `hosts.pi_5.workers.cidr` has bits beyond its prefix ("192.168.138.0/24")
    cluster.toml:14:60: `hosts.pi_5.workers.group` has 13 characters; 12 are allowed
    cluster.toml:16:12: `autoscaler.expander` cannot be `price`: Slicer's provider has no prices, and the autoscaler would stop at once (one of `random`, `most-pods`, `least-waste`, `priority`)
    "#);
}

#[test]
fn contradictions_are_told() {
    assert_snapshot!(told(r#"
name = "home"
[control-plane]
hosts = ["a", "c"]
cidr = "192.168.137.0/24"
[hosts.a]
ssh = "me@10.0.0.1"
workers = { min = 3, max = 2, priority = 1 }
[hosts.b]
ssh = "you@10.0.0.1"
workers = { cidr = "10.42.7.0/24", group = "k3s-cp-a" }
[k3s]
version = "v1.34.4+k3s1"
channel = "latest"
server-args = { token = "x", https-listen-port = 7443 }
[autoscaler]
args = { balancing-ignore-label = ["a", "b"], nodes = "x", v = 4 }
"#), @r#"
    cluster.toml:4:9: there is no [hosts.c] (known hosts: a, b)
    cluster.toml:4:9: the number of `control-plane.hosts` must be 1, 3 or 5, not 2 (an even number of servers survives no more losses than one fewer)
    cluster.toml:5:8: one network cannot serve servers on several hosts (leave `cidr` out: every host gets its own)
    cluster.toml:8:19: `hosts.a.workers.min` is more than `max`
    cluster.toml:8:42: `hosts.a.workers.priority` says nothing to the expander `random` (set `expander = "priority"` in [autoscaler])
    cluster.toml:10:7: `hosts.b.ssh` is the same machine as `hosts.a.ssh`
    cluster.toml:11:20: `hosts.b.workers.cidr` overlaps `k3s.cluster-cidr` (10.42.0.0/16)
    cluster.toml:11:44: `hosts.b.workers.group` is the same group as `control-plane.group`
    cluster.toml:14:11: `k3s.version` and `k3s.channel` are both given: one of them is enough
    cluster.toml:15:15: `k3s.server-args.token` cannot be set here: made by slicer-k3s
    cluster.toml:15:15: `k3s.server-args.https-listen-port` cannot be set here: servers, agents and routes use port 6443
    cluster.toml:17:8: `autoscaler.args.nodes` cannot be set here: decided by the plan
    cluster.toml:17:8: `autoscaler.args.balancing-ignore-label` cannot be set here: a flag has one value; for a flag that is given more than once, append _1, _2 and so on to the key
    "#);
}

/// Whoever mends one kind of mistake must not be told of the next kind only then.
#[test]
fn contradictions_are_told_along_with_wrong_values() {
    assert_snapshot!(told(r#"
name = "home"
[control-plane]
hosts = ["a", "x"]
servers = 2
ram-gb = "4"
[hosts.a]
ssh = 5
workers = { min = 3, max = 2, cidr = "10.42.0.0/24" }
[hosts.b]
ssh = "you@10.0.0.1"
workers = { cidr = "10.43.0.0/24" }
[k3s]
cluster-cidr = "10.42.0.0/8"
"#), @r#"
    cluster.toml:4:9: there is no [hosts.x] (known hosts: a, b)
    cluster.toml:5:11: `control-plane.servers` must be 1, 3 or 5, not 2 (an even number of servers survives no more losses than one fewer)
    cluster.toml:6:10: `control-plane.ram-gb` must be a whole number, not a text
    cluster.toml:8:7: `hosts.a.ssh` must be a text in quotes, not a whole number
    cluster.toml:9:19: `hosts.a.workers.min` is more than `max`
    cluster.toml:12:20: `hosts.b.workers.cidr` overlaps `k3s.service-cidr` (10.43.0.0/16)
    cluster.toml:14:16: `k3s.cluster-cidr` has bits beyond its prefix ("10.0.0.0/8")
    "#);
}

/// After an unclosed bracket the first thing said was "no host is named": of a file that names some.
#[test]
fn of_broken_toml_only_the_syntax_is_told_once_a_line() {
    assert_snapshot!(told("name = \n[hosts.a]\nssh = \"a\nport = 99999\nprot = 1\n"), @r#"
    cluster.toml:1:8: not TOML: string values must be quoted, expected literal string
    cluster.toml:3:9: not TOML: invalid basic string, expected `"`
    "#);
    let unclosed = told("name = \"home\"\n[hosts.a\nssh = \"a\"\n");
    assert!(unclosed.starts_with("cluster.toml:2:"), "{unclosed}");
    assert_eq!(unclosed.lines().count(), 1, "{unclosed}");
}

#[test]
fn a_port_is_split_off_a_target_and_an_address_of_ipv6_is_whole() {
    for (text, target, port) in [
        ("alex@10.0.0.1:2222", "alex@10.0.0.1", Some(2222)),
        ("n100:22", "n100", Some(22)),
        ("me@[fe80::1]:22", "me@[fe80::1]", Some(22)),
        ("me@[fe80::1]", "me@[fe80::1]", None),
        ("fe80::1", "fe80::1", None),
        ("n100", "n100", None),
        ("n100:0", "n100:0", None),
        ("n100:ssh", "n100:ssh", None),
        ("-x:22", "-x:22", None),
    ] {
        assert_eq!(format::split_port(text), (target, port), "{text}");
    }
}

#[test]
fn a_daemon_can_be_shared_only_with_servers() {
    assert_snapshot!(told("name='x'\n[control-plane]\nhost='a'\n[hosts.a]\nssh='a'\nshare-daemon=true\nworkers={api-port=9000}\n[hosts.b]\nssh='b'\nshare-daemon=true\n"), @r"
    cluster.toml:7:19: `hosts.a.workers.api-port` says nothing: the daemon is that of the servers (set `api-port` in [control-plane])
    cluster.toml:10:14: `hosts.b.share-daemon` says nothing: b runs no servers
    ");
}

#[test]
fn what_is_missing_is_told() {
    assert_snapshot!(told("\n\n"), @"cluster.toml:1:1: is empty (slicer-k3s init asks for what it needs and writes the file)");
    assert_snapshot!(told("[hosts.a]\n[hosts.b]\nssh='b'"), @r#"
    cluster.toml:1:1: `name` is missing (name = "home")
    cluster.toml:1:1: which host runs the servers? ([control-plane] with a line `host = "a"`)
    cluster.toml:1:8: `hosts.a` does not say how to reach it (ssh = "user@address", or ssh = "local" for this machine)
    "#);
    assert_snapshot!(told("name='x'\nhosts = 3"), @"cluster.toml:2:1: `hosts` must be a table: [hosts]");
    assert_snapshot!(told("name='x'\n[control-plane]\nservers=2\n[hosts.a]\nssh='a'"), @"cluster.toml:3:9: `control-plane.servers` must be 1, 3 or 5, not 2 (an even number of servers survives no more losses than one fewer)");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.toml");
    let why = |path: &Path| load(path).unwrap_err()[0].message.clone();
    assert_eq!(why(&path), "does not exist");
    assert_eq!(why(dir.path()), "is not a file");
    fs_err::write(&path, b"name = \"\xff\"").unwrap();
    let problem = &load(&path).unwrap_err()[0];
    assert_eq!(problem.message, "is not UTF-8 text");
    assert_eq!(problem.place, Place { line: 1, column: 9 });
}

#[test]
fn targets_that_a_shell_or_ssh_would_misread_are_refused() {
    for bad in [
        "-x",
        "a b",
        "a;b",
        "$(id)",
        "me@-x",
        "a@b@c d",
        "",
        "ssh://me@a",
        "a:22",
    ] {
        assert!(format::ssh(bad).is_err(), "{bad}");
    }
    for good in [
        "n100",
        "me@n100",
        "me@10.0.0.1",
        "fe80::1",
        "me@[fe80::1]",
        "n100.lan",
    ] {
        assert!(format::ssh(good).is_ok(), "{good}");
    }
    assert!(format::remote_path("~/LICENSE").is_err());
    assert!(format::remote_path("/a b").is_err());
    assert!(format::remote_path("/root/.slicer/LICENSE").is_ok());
    assert!(format::jump("me@a:22,b").is_ok());
    assert!(format::jump("me@a,-b").is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
    /// Whatever the file holds, it is an answer, never a panic.
    #[test]
    fn reading_never_panics(text in "(name|hosts|ssh|workers|k3s|[\\[\\]={}.\"'a\n 0-9-]){0,40}", more in ".{0,40}") {
        let _ = parse(&text, "c");
        let _ = parse(&more, "c");
        let _ = parse(&format!("{TWO}{text}{more}"), "c");
    }
}

/// Some commands go by what is on record of a cluster whose file is wrong: by its name, and never by a guess.
#[test]
fn the_name_is_read_of_a_file_that_is_wrong_elsewhere() {
    for (text, name) in [
        ("name = \"home\"\n[hosts.a]\nssh = \n", Some("home")),
        ("name = \"home\"\n[hosts\n", Some("home")),
        ("name = \"home\"\nfuture = 1\n", Some("home")),
        ("[hosts.a\nname = \"home\"\n", None),
        ("name = \"home\n[hosts.a]\n", None),
        ("name = \"home\" x\n", None),
        ("name = \"HO ME\"\n", None),
        ("name = \"../x\"\n", None),
        ("name = 3\n", None),
        ("", None),
    ] {
        assert_eq!(name_in(text).as_deref(), name, "{text}");
    }
}

/// These were accepted, and ended in a certificate, a URL or a command line.
#[test]
fn values_that_no_one_can_use_are_refused() {
    let with = |section: &str, line: &str| told(&format!("{TWO}[{section}]\n{line}\n"));
    for (section, line, why) in [
        ("k3s", "channel = \"stable/../../x\"", "is not a channel"),
        ("k3s", "channel = \"..\"", "is not a channel"),
        (
            "k3s",
            "https-proxy = \"http://p:3128 x\"",
            "http:// URL without blanks",
        ),
        ("autoscaler.args", "a = \"b\\nc\"", "is one line"),
    ] {
        assert!(
            with(section, line).contains(why),
            "{line}: {}",
            with(section, line)
        );
    }
    let san = |name: &str| {
        let line = format!("host = \"n100\"\ntls-san = [\"{name}\"]");
        told(&TWO.replace("host = \"n100\"", &line))
    };
    for name in ["ex ample", "https://x", "x:6443", "-x", "a..b"] {
        assert!(
            san(name).contains("neither a DNS name"),
            "{name}: {}",
            san(name)
        );
    }
    for name in ["lb.example", "*.example", "10.0.0.9", "fd00::1", "k3s_lb"] {
        assert_eq!(san(name), "nothing wrong");
    }
    for channel in ["stable", "latest", "testing", "v1.34", "v1.34-testing"] {
        let line = format!("channel = \"{channel}\"");
        assert_eq!(with("k3s", &line), "nothing wrong");
    }
}

/// Users of a directory service, and addresses that only one link has.
#[test]
fn logins_of_a_directory_and_zones_are_taken() {
    let with = |ssh: &str| told(&TWO.replace("\"pi@192.168.1.13\"", &format!("'{ssh}'")));
    for ssh in [
        "DOMAIN\\me@192.168.1.13",
        "me@domain.example@pi",
        "a+b@pi",
        "pi@fe80::1%eth0",
        "pi@[fe80::1%eth0]",
    ] {
        assert_eq!(with(ssh), "nothing wrong", "{ssh}");
    }
    for ssh in [
        "@domain@pi",
        "\\me@pi",
        "a b@pi",
        "-oX@pi",
        "pi@fe80::1%a b",
        "pi@host%eth0",
    ] {
        assert_ne!(with(ssh), "nothing wrong", "{ssh}");
    }
}
