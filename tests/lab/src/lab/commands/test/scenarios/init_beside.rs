//! Two clusters side by side from one workstation, partly on one host, each with wishes of its own: neither sees the other,
//! and the end of one leaves the other as it was.

use anyhow::{Context as _, Result, bail};

use super::super::prints::{Look, Prints};
use super::super::trial::Trial;
use super::{INIT, UNHURRIED, changes_nothing};
use crate::place::Place;
use crate::say;

/// Tainted servers, other networks, no add-ons, a mirror, an argument of its own, another expander.
const WISHES: &str = r#"name = "home"
[control-plane]
hosts = ["n100"]
servers = 1
taint = true
tls-san = ["k3s.lab"]
[hosts.n100]
ssh = "alex@192.168.1.11"
[hosts.pi5]
ssh = "pi@192.168.1.13"
workers = { cpu = 1, ram-gb = 2, max = 2, group = "pi" }
[k3s]
cluster-cidr = "10.52.0.0/16"
service-cidr = "10.53.0.0/16"
disable = ["traefik", "servicelb", "metrics-server"]
registries = { mirrors = { "docker.io" = { endpoint = ["https://mirror.lab"] } } }
server-args = { kubelet-arg = ["max-pods=90"] }
[autoscaler]
expander = "least-waste"
args = { max-node-provision-time = "10m" }
"#;

/// As plain as can be, and its agents on the host of the other's.
const PLAIN: &str = r#"name = "work"
[control-plane]
hosts = ["n100"]
servers = 1
[hosts.n100]
ssh = "alex@192.168.1.11"
[hosts.pi5]
ssh = "pi@192.168.1.13"
"#;

/// Both clusters are on these.
const HOSTS: [&str; 2] = ["n100", "pi5"];

/// The first cluster's files and units on its hosts.
const OF_THE_FIRST: Look = Look {
    script: "find /etc/slicer-k3s/home.json /etc/slicer-k3s/routes.d/home /var/lib/slicer-k3s/home -type f ! -name '*.img' -exec sha256sum {} + 2>/dev/null
for u in $(grep -l /slicer-k3s/home/ /etc/systemd/system/slicer-*.service | xargs -rn1 basename); do
echo \"$(systemctl show -p MainPID,ActiveEnterTimestampMonotonic --value $u | tr '\\n' ,) $u\"; done",
    least: 3,
};

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-beside", &[])?;
    trial.put_mine("cluster.toml", "0644", WISHES)?;
    trial.put_mine("work.toml", "0644", PLAIN)?;
    // With the proof: pods find their way through tainted servers and other networks, or they do not.
    let done = trial.me(INIT)?.expect(0)?;
    say::line(format_args!("  home: {:.0} s", done.took.as_secs_f64()));
    granted(&trial).context("wishes")?;
    let before = Prints::of(&trial, &HOSTS, &OF_THE_FIRST)?;
    let second = format!("{INIT} --config work.toml");
    // A group's name is its bridge's and its unit's on the host: it can be there once.
    let refused = trial.me(&second)?.expect(2)?.text();
    if !refused.contains("k3s-cp") || !refused.contains("`group`") {
        bail!("the name that is taken is not told:\n{refused}");
    }
    trial
        .me("sed -i 's/^servers = 1/&\\ngroup = \"work-cp\"/' work.toml")?
        .expect(0)?;
    let done = trial.me(&second)?.expect(0)?;
    say::line(format_args!("  work: {:.0} s", done.took.as_secs_f64()));
    before
        .untouched(&Prints::of(&trial, &HOSTS, &OF_THE_FIRST)?)
        .context("the second cluster's making")?;
    changes_nothing(&trial, ("workstation", "me"), &second, UNHURRIED)?;
    changes_nothing(&trial, ("workstation", "me"), INIT, UNHURRIED)?;
    for config in ["cluster.toml", "work.toml"] {
        trial
            .me(&format!("slicer-k3s status --config {config}"))?
            .expect(0)?;
    }
    trial
        .me("slicer-k3s destroy --config work.toml --yes")?
        .expect(0)?;
    before
        .untouched(&Prints::of(&trial, &HOSTS, &OF_THE_FIRST)?)
        .context("the second cluster's end")?;
    trial.me("slicer-k3s status")?.expect(0)?;
    changes_nothing(&trial, ("workstation", "me"), INIT, UNHURRIED)
}

/// What was asked for is so.
fn granted(trial: &Trial) -> Result<()> {
    for (command, says) in [
        (
            "slicer-k3s kubectl get nodes -o jsonpath='{.items[0].spec.taints[*].key} {.items[0].spec.podCIDR} {.items[0].status.capacity.pods}'",
            "node-role.kubernetes.io/control-plane 10.52.0.0/24 90",
        ),
        (
            "slicer-k3s kubectl get service kubernetes -o jsonpath='{.spec.clusterIP}'",
            "10.53.0.1",
        ),
        (
            "slicer-k3s kubectl get deployment -n kube-system slicer-cluster-autoscaler -o jsonpath='{.spec.template.spec.containers[0].command}'",
            "--max-node-provision-time=10m",
        ),
    ] {
        let told = trial.me(command)?.expect(0)?.stdout;
        if !told.contains(says) {
            bail!("`{command}` says {told}, not {says}");
        }
    }
    let server = "cat /etc/rancher/k3s/registries.yaml; \
                  openssl x509 -noout -ext subjectAltName -in /var/lib/rancher/k3s/server/tls/serving-kube-apiserver.crt";
    let told = trial.root("k3s-cp-1", server)?.expect(0)?.stdout;
    for says in ["mirror.lab", "k3s.lab"] {
        if !told.contains(says) {
            bail!("k3s-cp-1 knows nothing of {says}:\n{told}");
        }
    }
    Ok(())
}
