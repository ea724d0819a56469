//! What can be told before anything is changed anywhere, is: no cluster is made here.

use anyhow::{Context as _, Result, bail};

use super::super::super::trial::Trial;
use super::{Breaking, Row, Spoil, output};
use crate::place::Place;

const GOOD: &str = r#"name = "home"
[control-plane]
hosts = ["n100"]
[hosts.n100]
ssh = "alex@192.168.1.11"
[hosts.ryzen]
ssh = "alex@192.168.1.12"
sudo-password-file = "~/sudo-ryzen"
[hosts.pi5]
ssh = "pi@192.168.1.13"
"#;

const INIT: &str = "slicer-k3s init --yes --accept-new-host-keys </dev/null";

const HOSTS: [&str; 3] = ["n100", "ryzen", "pi5"];

/// Nothing of a cluster is on a host.
const UNTOUCHED: &str = "test ! -e /etc/slicer-k3s && test ! -e /var/lib/slicer-k3s && test ! -e /etc/systemd/system/slicer-k3s-routes.service";

/// Seconds that a refusal may take to be told.
const AT_ONCE: f64 = 20.0;

const fn row(
    name: &'static str,
    spoils: &'static [Spoil],
    code: &'static str,
    says: &'static [&'static str],
) -> Row {
    Row {
        name,
        spoils,
        command: INIT,
        exit: 1,
        code,
        says,
        within: AT_ONCE,
    }
}

/// The same for what cluster.toml is to blame for.
const fn wrong(
    name: &'static str,
    spoils: &'static [Spoil],
    code: &'static str,
    says: &'static [&'static str],
) -> Row {
    Row {
        exit: 2,
        ..row(name, spoils, code, says)
    }
}

/// cluster.toml itself: no machine is asked.
const FILE: &[Row] = &[
    wrong(
        "cluster.toml is not UTF-8",
        &[Spoil::File(b"name = \"h\xff\xfeome\"\n")],
        "config",
        &["cluster.toml:1:10: is not UTF-8", "save it as UTF-8"],
    ),
    wrong(
        "cluster.toml is not TOML",
        &[Spoil::File(b"name = \"home\n[hosts\n")],
        "config",
        &["cluster.toml:1:13: not TOML", "cluster.toml:2:7: not TOML"],
    ),
    wrong(
        "cluster.toml is empty",
        &[Spoil::File(b"")],
        "config",
        &["cluster.toml:1:1: is empty", "slicer-k3s init"],
    ),
    wrong(
        "unknown keys, wrong types and contradictions, all at once",
        &[Spoil::File(
            br#"nam = "home"
colour = 3
[control-plane]
hosts = ["n100", "n101"]
servers = 2
ram-gb = "4"
[hosts.n100]
ssh = 5
port = 99999
worker = true
[hosts.pi5]
ssh = "pi\u001b[2J"
workers = { max = 1, min = 3, cidr = "192.168.1.7/24", group = "agents" }
[hosts.ryzen]
ssh = "alex@192.168.1.12"
workers = { group = "agents" }
[k3s]
cluster-cidr = "10.42.0.0/16"
service-cidr = "10.42.0.0/20"
"#,
        )],
        "config",
        &[
            "cluster.toml:1:1: unknown key `nam`",
            "did you mean `name`?",
            "cluster.toml:2:1: unknown key `colour`",
            "cluster.toml:4:9: there is no [hosts.n101]",
            "cluster.toml:5:11: ",
            "cluster.toml:6:10: `control-plane.ram-gb` must be a whole number, not a text",
            "cluster.toml:8:7: ",
            "cluster.toml:9:8: ",
            "did you mean `workers`?",
            "cluster.toml:12:7: ",
            "cluster.toml:13:",
            "cluster.toml:16:21: ",
            "cluster.toml:19:16: ",
        ],
    ),
    wrong(
        "a group's name is too long",
        &[Spoil::Edit(&[(
            "ssh = \"pi@192.168.1.13\"",
            "ssh = \"pi@192.168.1.13\"\nworkers = { group = \"workers-on-the-pi\" }",
        )])],
        "config",
        &[
            "`hosts.pi5.workers.group` has 17 characters; 12 are allowed",
            "cluster.toml:11:",
        ],
    ),
    wrong(
        "a group's name is there twice",
        &[Spoil::Edit(&[
            (
                "ssh = \"pi@192.168.1.13\"",
                "ssh = \"pi@192.168.1.13\"\nworkers = { group = \"agents\" }",
            ),
            (
                "sudo-password-file",
                "workers = { group = \"agents\" }\nsudo-password-file",
            ),
        ])],
        "config",
        &["`hosts.pi5.workers.group` is the same group as `hosts.ryzen.workers.group`"],
    ),
];

/// The way to a machine, and becoming root there.
const WAY: &[Row] = &[
    row(
        "a name that nobody knows",
        &[Spoil::Edit(&[(
            "alex@192.168.1.11",
            "alex@n100.nowhere.lan",
        )])],
        "ssh-unreachable",
        &["n100", "n100.nowhere.lan", "cluster.toml"],
    ),
    row(
        "SSH is refused",
        &[Spoil::Fault(&["ssh-refused", "n100"])],
        "ssh-unreachable",
        &["n100", "192.168.1.11", "refused", "on port 22"],
    ),
    row(
        "the key is refused",
        &[Spoil::On(
            "n100",
            "mv /home/alex/.ssh/authorized_keys /home/alex/.ssh/aside",
            "mv /home/alex/.ssh/aside /home/alex/.ssh/authorized_keys",
        )],
        "ssh-auth",
        &["n100", "alex", "ssh-copy-id"],
    ),
    row(
        "a changed host key",
        &[Spoil::On(
            "workstation",
            "cd /home/me/.ssh && cp -p known_hosts aside && rm -f /tmp/other && ssh-keygen -q -t ed25519 -N '' -f /tmp/other \
             && ssh-keygen -q -R 192.168.1.11 -f known_hosts && rm known_hosts.old && chown me: known_hosts && echo \"192.168.1.11 $(cut -d' ' -f1,2 /tmp/other.pub)\" >>known_hosts",
            "cd /home/me/.ssh && mv aside known_hosts",
        )],
        "host-key-changed",
        &["n100", "SHA256:", "ssh-keygen -R"],
    ),
    row(
        "sudo wants a password that nobody gave",
        &[Spoil::Edit(&[(
            "sudo-password-file = \"~/sudo-ryzen\"\n",
            "",
        )])],
        "sudo",
        &["ryzen", "sudo-password-file under [hosts.ryzen]"],
    ),
    row(
        "sudo refuses the user, in German",
        &[Spoil::On(
            "ryzen",
            "echo LANG=de_DE.UTF-8 >/etc/default/locale; mv /etc/sudoers.d/alex /root/; gpasswd -d alex sudo",
            "rm -f /etc/default/locale; mv /root/alex /etc/sudoers.d/; gpasswd -a alex sudo",
        )],
        "sudo",
        &["ryzen", "not in the sudoers file"],
    ),
    row(
        "sudo's password is wrong",
        &[Spoil::On(
            "workstation",
            "sed -i s/correct/wrong/ /home/me/sudo-ryzen",
            "sed -i s/wrong/correct/ /home/me/sudo-ryzen",
        )],
        "sudo",
        &["ryzen", "sudo-ryzen"],
    ),
    row(
        "tunnels are forbidden",
        &[Spoil::On(
            "n100",
            "echo 'AllowTcpForwarding no' >/etc/ssh/sshd_config.d/no.conf && systemctl reload ssh",
            "rm /etc/ssh/sshd_config.d/no.conf && systemctl reload ssh",
        )],
        "ssh-forward",
        &["n100", "AllowTcpForwarding"],
    ),
];

/// What a machine is and has.
const MACHINE: &[Row] = &[
    row(
        "no KVM",
        &[Spoil::On(
            "pi5",
            "umount /dev/kvm 2>/dev/null; rm /dev/kvm",
            ": >/dev/kvm",
        )],
        "host-unfit",
        &["pi5", "/dev/kvm", "firmware"],
    ),
    row(
        "no licence",
        &[Spoil::On(
            "pi5",
            "mv /home/pi/.slicer/LICENSE /home/pi/aside",
            "mv /home/pi/aside /home/pi/.slicer/LICENSE",
        )],
        "slicer-licence",
        &["pi5", "~/.slicer/LICENSE", "licence-file"],
    ),
    wrong(
        "a port that is in use",
        &[
            Spoil::Edit(&[(
                "ssh = \"pi@192.168.1.13\"",
                "ssh = \"pi@192.168.1.13\"\nworkers = { api-port = 9999 }",
            )]),
            Spoil::On(
                "pi5",
                "systemd-run --quiet --unit busy socat TCP-LISTEN:9999,fork /dev/null; sleep 0.3",
                "systemctl stop busy",
            ),
        ],
        "plan-conflict",
        &["port 9999 of pi5", "sudo ss -ltnp"],
    ),
    wrong(
        "a network that is the LAN's",
        &[Spoil::Edit(&[(
            "ssh = \"pi@192.168.1.13\"",
            "ssh = \"pi@192.168.1.13\"\nworkers = { cidr = \"192.168.0.0/16\" }",
        )])],
        "plan-conflict",
        &["pi5", "192.168.0.0/16", "192.168.1.1", "`cidr`"],
    ),
    wrong(
        "a network that is another host's",
        &[Spoil::Edit(&[
            (
                "ssh = \"pi@192.168.1.13\"",
                "ssh = \"pi@192.168.1.13\"\nworkers = { cidr = \"10.7.0.0/24\" }",
            ),
            (
                "sudo-password-file",
                "workers = { cidr = \"10.7.0.0/16\" }\nsudo-password-file",
            ),
        ])],
        "config",
        &["`hosts.pi5.workers.cidr` overlaps `hosts.ryzen.workers.cidr` (10.7.0.0/16)"],
    ),
    wrong(
        "a network that is the pods'",
        &[Spoil::Edit(&[(
            "ssh = \"pi@192.168.1.13\"",
            "ssh = \"pi@192.168.1.13\"\nworkers = { cidr = \"10.42.7.0/24\" }",
        )])],
        "config",
        &["`hosts.pi5.workers.cidr` overlaps `k3s.cluster-cidr` (10.42.0.0/16)"],
    ),
    wrong(
        "a network that is a VPN's",
        &[
            Spoil::Edit(&[(
                "ssh = \"pi@192.168.1.13\"",
                "ssh = \"pi@192.168.1.13\"\nworkers = { cidr = \"10.99.0.0/24\" }",
            )]),
            Spoil::On(
                "ryzen",
                "ip link add wg0 type bridge && ip addr add 10.99.0.5/16 dev wg0 && ip link set wg0 up",
                "ip link del wg0",
            ),
        ],
        "plan-conflict",
        &["10.99.0.0/24", "wg0 of ryzen", "`cidr`"],
    ),
    row(
        "the channel of k3s cannot be had",
        &[Spoil::Fault(&["name", "update.k3s.io", "unreachable"])],
        "k3s-install",
        &["n100", "update.k3s.io", "k3s.version"],
    ),
];

/// Runs it.
pub(in super::super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-err-q", &[])?;
    trial.put_mine("sudo-ryzen", "0600", "correct horse\n")?;
    let mut breaking = Breaking::new(&trial, GOOD);
    let unknown = Row {
        command: "slicer-k3s init --yes </dev/null",
        ..row(
            "a host key that nobody has seen",
            &[],
            "host-key-unknown",
            &["n100", "SHA256:", "--accept-new-host-keys", "host-key"],
        )
    };
    breaking.row(&unknown)?;
    let mut failed = Vec::new();
    for rows in [FILE, WAY, MACHINE] {
        for row in rows {
            if let Err(error) = breaking.row(row).and_then(|_| untouched(&trial)) {
                failed.push(format!("{error:#}"));
            }
        }
        let next = trial.me("slicer-k3s init --dry-run --accept-new-host-keys </dev/null")?;
        next.expect(3)
            .context("the next run, with every cause gone")?;
    }
    breaking.transcript += &output::run(&trial)?;
    breaking.keep()?;
    if failed.is_empty() {
        Ok(())
    } else {
        bail!(
            "{} of the ways to break:\n\n{}",
            failed.len(),
            failed.join("\n\n")
        )
    }
}

/// Nothing was written or decided anywhere.
fn untouched(trial: &Trial) -> Result<()> {
    for host in HOSTS {
        trial
            .root(host, UNTOUCHED)?
            .expect(0)
            .with_context(|| format!("something was written on {host}"))?;
    }
    let kept = "ls -A ~/.local/state/slicer-k3s/home | grep -vxE 'lock|logs'";
    trial.me(kept)?.expect(1).context("something was decided")?;
    Ok(())
}
