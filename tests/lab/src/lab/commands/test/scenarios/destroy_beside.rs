//! `destroy` beside daemons that someone made by hand with the manual's names: groups of ours have the same names, and were never
//! installed. What has only the name of ours goes on unharmed: VMs, bridge, logs and unit.

use anyhow::{Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::INIT;
use crate::place::Place;

/// Two hand-made daemons of the manual's names: one that a shell left running, and one of a unit that is called as ours would be.
const BY_HAND: &str = "set -e; mkdir -p /root/GROUP; cd /root/GROUP
slicer new GROUP --cidr CIDR --count 1 >GROUP.yaml
if [ HOW = shell ]; then
  setsid nohup slicer up ./GROUP.yaml --license-file LICENCE >daemon.log 2>&1 </dev/null &
else
  cat >/etc/systemd/system/slicer-GROUP.service <<END
[Service]
WorkingDirectory=/root/GROUP
ExecStart=/usr/local/bin/slicer up ./GROUP.yaml --license-file LICENCE
[Install]
WantedBy=multi-user.target
END
  systemctl daemon-reload; systemctl -q enable --now slicer-GROUP
fi
n=0; until [ -s /lab/data/vms/GROUP-1/leader.pid ]; do sleep 1; n=$((n+1)); [ $n -lt 120 ]; done";

/// The same processes, VM, bridge, directory, unit and log.
const STILL: &str = "pgrep -xf 'slicer up ./GROUP.yaml.*|/usr/local/bin/slicer up ./GROUP.yaml.*'; cat /lab/data/vms/GROUP-1/leader.pid; \
    ip -br link show brGROUP0 | awk '{print $1}'; ls -d /root/GROUP /var/log/slicer/GROUP-1.txt; \
    cat /etc/systemd/system/slicer-GROUP.service 2>/dev/null; systemctl is-enabled slicer-GROUP 2>/dev/null; true";

/// A daemon that someone made by hand.
struct ByHand {
    host: &'static str,
    group: &'static str,
    cidr: &'static str,
    how: &'static str,
    licence: &'static str,
}

const ALL: [ByHand; 2] = [
    ByHand {
        host: "ryzen",
        group: "k3s-agents-1",
        cidr: "192.168.210.0/24",
        how: "shell",
        licence: "/home/alex/.slicer/LICENSE",
    },
    ByHand {
        host: "pi5",
        group: "k3s-agents-2",
        cidr: "192.168.211.0/24",
        how: "unit",
        licence: "/home/pi/.slicer/LICENSE",
    },
];

impl ByHand {
    fn script(&self, text: &str) -> String {
        text.replace("GROUP", self.group)
            .replace("CIDR", self.cidr)
            .replace("HOW", self.how)
            .replace("LICENCE", self.licence)
    }

    fn still(&self, trial: &Trial) -> Result<String> {
        Ok(trial
            .root(self.host, &self.script(STILL))?
            .expect(0)?
            .stdout)
    }
}

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "beside", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    let names = r#"sed -i 's/^hosts = .*/&\nservers = 1/' cluster.toml
        printf '%s\n' '[hosts.ryzen.workers]' 'group = "k3s-agents-1"' >>cluster.toml
        printf '%s\n' '[hosts.pi5.workers]' 'group = "k3s-agents-2"' >>cluster.toml"#;
    trial.me(names)?.expect(0)?;
    // Decided, recorded, and never installed: a file is where our directories would be.
    for daemon in &ALL {
        trial
            .root(daemon.host, "touch /var/lib/slicer-k3s")?
            .expect(0)?;
    }
    let half = trial.me(&format!("{INIT} --skip-proof"))?;
    if half.status == 0 {
        bail!("init made directories in a file:\n{}", half.text());
    }
    for daemon in &ALL {
        trial
            .root(daemon.host, "rm /var/lib/slicer-k3s")?
            .expect(0)?;
        trial
            .root(daemon.host, &daemon.script(BY_HAND))?
            .expect(0)?;
    }
    let before: Vec<String> = still(&trial)?;
    if let Some(none) = before.iter().find(|it| it.lines().count() < 4) {
        bail!("a daemon by hand did not come up:\n{none}");
    }
    let done = trial.me("slicer-k3s destroy --yes")?.expect(0)?;
    if !done.text().contains("home is gone") {
        bail!("it did not say that it is done:\n{}", done.text());
    }
    let after = still(&trial)?;
    if before != after {
        bail!("what someone made by hand changed from\n{before:?}to\n{after:?}");
    }
    for daemon in &ALL {
        let mark = "ls -d /etc/slicer-k3s /var/lib/slicer-k3s 2>/dev/null; true";
        let left = trial.root(daemon.host, mark)?.expect(0)?.stdout;
        if !left.trim().is_empty() {
            bail!("left on {}:\n{left}", daemon.host);
        }
    }
    Ok(())
}

fn still(trial: &Trial) -> Result<Vec<String>> {
    ALL.iter().map(|daemon| daemon.still(trial)).collect()
}
