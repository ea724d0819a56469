//! What breaks on the way to a cluster and after it: each row is mended before the next, which therefore shows that
//! what had failed succeeds; the last run finds everything whole.

use anyhow::{Context as _, Result, bail};

use super::super::super::trial::Trial;
use super::super::{groups, items};
use super::{Breaking, Row, Spoil};
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

const INIT: &str = "slicer-k3s init --yes --skip-proof --accept-new-host-keys </dev/null";

/// Both VMs with one key, by hands that do not need SSH.
const ONE_KEY: &str = r#"
rm -f /tmp/key /tmp/key.pub; ssh-keygen -q -t ed25519 -N '' -f /tmp/key
for vm in k3s-cp-1 k3s-cp-2; do
    into="nsenter --target $(cat /lab/data/vms/$vm/leader.pid) --all"
    $into sh -c 'cat >/etc/ssh/ssh_host_ed25519_key' </tmp/key
    $into sh -c 'cat >/etc/ssh/ssh_host_ed25519_key.pub' </tmp/key.pub
    $into systemctl restart ssh
done"#;

const KEY_OF_ITS_OWN: &str = r#"
into="nsenter --target $(cat /lab/data/vms/k3s-cp-2/leader.pid) --all"
$into sh -c 'cd /etc/ssh && rm ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N "" -f ssh_host_ed25519_key && systemctl restart ssh'"#;

const fn row(
    name: &'static str,
    spoils: &'static [Spoil],
    code: &'static str,
    says: &'static [&'static str],
    within: f64,
) -> Row {
    Row {
        name,
        spoils,
        command: INIT,
        exit: 1,
        code,
        says,
        within,
    }
}

/// Before there is a cluster, in the order in which `init` comes by.
const ON_THE_WAY: &[Row] = &[
    row(
        "an expired licence",
        &[Spoil::On(
            "n100",
            "cp /home/alex/.slicer/LICENSE /tmp/LICENSE && echo 'expires: 2020-01-01' >/home/alex/.slicer/LICENSE",
            "cp /tmp/LICENSE /home/alex/.slicer/LICENSE",
        )],
        "slicer-licence",
        &["n100", "token is expired (2020-01-01)", "~/.slicer/LICENSE"],
        60.0,
    ),
    row(
        "Slicer's API refuses every token",
        &[Spoil::Fault(&["api", "n100", "401", "--group", "k3s-cp"])],
        "slicer-token",
        &["k3s-cp on n100", "401", "rotate-token --slicer n100"],
        40.0,
    ),
    row(
        "Slicer's API fails",
        &[Spoil::Fault(&["api", "n100", "500", "--group", "k3s-cp"])],
        "slicer-api",
        &["k3s-cp", "500", "journalctl -u slicer-k3s-cp"],
        100.0,
    ),
    row(
        "Slicer's API hangs",
        &[Spoil::Fault(&["api", "n100", "hang", "--group", "k3s-cp"])],
        "slicer-api",
        &["k3s-cp", "no answer", "journalctl -u slicer-k3s-cp"],
        120.0,
    ),
    Row {
        exit: 130,
        command: "timeout --foreground --preserve-status -s INT 8 slicer-k3s init --yes --skip-proof --accept-new-host-keys </dev/null",
        ..row(
            "Ctrl-C",
            &[Spoil::Fault(&["name", "get.k3s.io", "slow"])],
            "interrupted",
            &[
                "stopped by Ctrl-C",
                "in progress: ",
                "run the same command again",
            ],
            20.0,
        )
    },
    row(
        "get.k3s.io cannot be reached",
        &[Spoil::Fault(&["name", "get.k3s.io", "unreachable"])],
        "k3s-install",
        &["k3s-cp-1", "get.k3s.io", "curl -sI https://get.k3s.io"],
        90.0,
    ),
    row(
        "get.k3s.io is cut off",
        &[Spoil::Fault(&["name", "get.k3s.io", "truncate"])],
        "k3s-install",
        &["k3s-cp-1", "curl"],
        90.0,
    ),
    row(
        "k3s cannot be downloaded",
        &[Spoil::Fault(&["name", "github.com", "unreachable"])],
        "k3s-install",
        &["k3s-cp-1", "Download failed"],
        90.0,
    ),
    row(
        "k3s arrives cut off",
        &[Spoil::Fault(&["name", "github.com", "truncate"])],
        "k3s-install",
        &["k3s-cp-1", "Download"],
        90.0,
    ),
    row(
        "k3s arrives damaged",
        &[Spoil::Fault(&["name", "github.com", "badsum"])],
        "k3s-install",
        &["k3s-cp-1", "sha256"],
        90.0,
    ),
    row(
        "k3s ends again and again; the chart's repository cannot be reached",
        &[
            Spoil::On(
                "k3s-cp-2",
                "mkdir -p /etc/systemd/system/k3s.service.d && printf '[Service]\\nExecStartPre=/bin/false\\n' >/etc/systemd/system/k3s.service.d/no.conf && systemctl daemon-reload",
                "systemctl stop k3s.service; rm -r /etc/systemd/system/k3s.service.d && systemctl daemon-reload",
            ),
            Spoil::Fault(&["name", "kubernetes.github.io", "unreachable"]),
        ],
        "k3s-start",
        &[
            "k3s-cp-2",
            "it ended ",
            "journalctl -u k3s",
            "error[autoscaler]",
            "kubernetes.github.io",
        ],
        400.0,
    ),
    row(
        "settings that contradict the first server's; the autoscaler's image cannot be pulled",
        &[
            Spoil::On(
                "k3s-cp-2",
                "mkdir -p /etc/systemd/system/k3s.service.d && printf '[Service]\\nExecStart=\\nExecStart=/usr/local/bin/k3s server --cluster-cidr=10.44.0.0/16\\n' >/etc/systemd/system/k3s.service.d/99.conf && systemctl daemon-reload",
                "systemctl stop k3s.service; rm /etc/systemd/system/k3s.service.d/99.conf; systemctl daemon-reload",
            ),
            Spoil::Fault(&["name", "ghcr.io", "unreachable"]),
        ],
        "k3s-start",
        &[
            "k3s-cp-2",
            "its settings differ from the first server's",
            "error[autoscaler]",
            "ghcr.io",
            "kubectl",
        ],
        400.0,
    ),
    row(
        "a token that the first server refuses",
        &[Spoil::On(
            "k3s-cp-2",
            "mkdir -p /etc/systemd/system/k3s.service.d && printf '[Service]\\nExecStart=\\nExecStart=/usr/local/bin/k3s server --token=wrong\\n' >/etc/systemd/system/k3s.service.d/99.conf && systemctl daemon-reload",
            "systemctl stop k3s.service; rm /etc/systemd/system/k3s.service.d/99.conf; systemctl daemon-reload",
        )],
        "k3s-start",
        &["k3s-cp-2", "refuses its token"],
        330.0,
    ),
    row(
        "a drop-in that would win over config.yaml",
        &[Spoil::On(
            "k3s-cp-2",
            "mkdir -p /etc/rancher/k3s/config.yaml.d && echo 'token: wrong' >/etc/rancher/k3s/config.yaml.d/99.yaml",
            "rm -r /etc/rancher/k3s/config.yaml.d",
        )],
        "host-conflict",
        &["99.yaml on k3s-cp-2 sets token", "remove token from"],
        330.0,
    ),
    row(
        "a full disk on one server",
        &[Spoil::Fault(&["disk-full", "k3s-cp-2"])],
        "k3s-start",
        &["k3s-cp-2", "the VM's disk is full", "raise storage-gb"],
        180.0,
    ),
    row(
        "two VMs with one host key",
        &[Spoil::On("n100", ONE_KEY, KEY_OF_ITS_OWN)],
        "host-key-changed",
        &["have the same SSH host key", "ssh-keygen -A in k3s-cp-"],
        90.0,
    ),
    row(
        "a VM that never comes up",
        &[
            // The hint's second way: Slicer cannot stop this one by itself.
            Spoil::On(
                "n100",
                // Slicer answers when it has asked the VM, not when that has stopped.
                "slicer vm shutdown k3s-cp-2; for _ in $(seq 60); do slicer vm list | grep 'k3s-cp-2 ' | grep -qi running || exit 0; sleep 1; done; exit 1",
                "systemctl restart slicer-k3s-cp.service",
            ),
            Spoil::Fault(&["vm-boot", "n100", "never", "--vm", "k3s-cp-2"]),
        ],
        "vm",
        &[
            "k3s-cp-2 on n100 does not come up",
            "its console's last line",
            "sudo slicer vm shutdown k3s-cp-2",
        ],
        260.0,
    ),
];

/// With a cluster.
const AFTERWARDS: &[Row] = &[
    Row {
        exit: 2,
        ..row(
            "another network for a group that runs",
            &[Spoil::Edit(&[(
                "ssh = \"pi@192.168.1.13\"",
                "ssh = \"pi@192.168.1.13\"\nworkers = { cidr = \"10.99.0.0/24\" }",
            )])],
            "plan-conflict",
            &[
                "cidr of group k3s-agent-2 on pi5",
                "set `cidr` back",
                "[hosts.pi5.workers]",
            ],
            20.0,
        )
    },
    row(
        "a machine that is off",
        &[Spoil::Fault(&["link-down", "pi5"])],
        "ssh-unreachable",
        &["pi5", "192.168.1.13", "is it switched on"],
        90.0,
    ),
];

/// Cleaned up, or the autoscaler would count it as coming for ever and never grow that group again.
const NEVER_JOINS: Row = Row {
    command: PROVE,
    ..row(
        "a worker that boots and never joins",
        &[Spoil::Fault(&["userdata", "ryzen"])],
        "proof",
        &[
            "k3s-agent-1",
            "has not joined",
            "/var/log/slicer/k3s-agent-1-",
        ],
        600.0,
    )
};

const PROVE: &str = "slicer-k3s prove k3s-agent-1 --yes";

/// Runs it.
pub(in super::super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-err", &[])?;
    trial.put_mine("sudo-ryzen", "0600", "correct horse\n")?;
    let mut breaking = Breaking::new(&trial, GOOD);
    let mut failed = Vec::new();
    for row in ON_THE_WAY {
        if let Err(error) = breaking.row(row) {
            failed.push(format!("{error:#}"));
        }
        half_written(&trial).with_context(|| format!("after: {}", row.name))?;
    }
    trial.me(INIT)?.expect(0).context("with every cause gone")?;
    for row in AFTERWARDS {
        if let Err(error) = breaking.row(row) {
            failed.push(format!("{error:#}"));
        }
    }
    // The last of them was the machine that is off.
    let groups = groups(&trial)?;
    if groups != "[nodegroup \"k3s-agent-1\"]\n" {
        failed.push(format!("with pi5 off the autoscaler has:\n{groups}"));
    }
    trial.me(INIT)?.expect(0).context("at the end")?;
    if let Err(error) = breaking.row(&NEVER_JOINS) {
        failed.push(format!("{error:#}"));
    }
    let vms = trial.vms()?;
    if let Some(vm) = vms.iter().find(|vm| vm.starts_with("k3s-agent-1")) {
        failed.push(format!("{vm} was left"));
    }
    trial
        .me(PROVE)?
        .expect(0)
        .context("a proof after the worker that never joined")?;
    let last = trial.me(INIT)?.expect(0)?;
    if !last.text().contains("Nothing to change") {
        bail!("the last run changed something:\n{}", last.text());
    }
    let ready = super::super::nodes(&items(&trial, "nodes")?);
    if ready.len() != 3 || ready.values().any(|(ready, voter)| !ready || !voter) {
        bail!("not three Ready voters: {ready:?}");
    }
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

/// No file is there by half, on hosts or on servers.
fn half_written(trial: &Trial) -> Result<()> {
    let mut machines = vec!["n100".to_owned(), "ryzen".to_owned(), "pi5".to_owned()];
    machines.extend(trial.vms()?);
    let search = "find /etc /usr/local/bin /var/lib/slicer-k3s -xdev -name '.slicer-k3s.*' -o -path /usr/local/bin/k3s -size -1M 2>/dev/null";
    for machine in machines {
        let found = trial.root(&machine, search)?.stdout;
        if !found.trim().is_empty() {
            bail!("half written on {machine}: {found}");
        }
    }
    Ok(())
}
