//! A cluster of three servers that holds something, and what must be true of it whatever happened to them.

use anyhow::{Context as _, Result, bail};

use super::super::trial::{
    CLUSTER_OF_ONE, CLUSTER_OF_THREE, CLUSTER_SPREAD, CLUSTER_SPREAD_WITH_AGENTS, Cluster, Done,
    Trial,
};
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, healthy, voters};
use crate::say;

/// The authority of the cluster behind a server's own API.
const AUTHORITY: &str = "curl -sk -m 10 https://127.0.0.1:6443/cacerts";

/// The object that must outlive every server, asked for at the server's own API.
const KEEP: &str = "k3s kubectl get configmap keep --namespace default -o 'jsonpath={.data.made}'";

/// Where the servers are.
pub(super) struct Layout {
    fleet: &'static str,
    cluster: &'static Cluster,
    /// In the order in which the plan has them: the first founds.
    servers: [&'static str; 3],
    /// Every host of the fleet.
    hosts: &'static [&'static str],
}

/// All on the only host.
pub(super) const ONE: Layout = Layout {
    fleet: "one",
    cluster: &CLUSTER_OF_ONE,
    servers: ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"],
    hosts: &["n100"],
};

/// All on one host, agents on the others.
pub(super) const THREE: Layout = Layout {
    fleet: "three",
    cluster: &CLUSTER_OF_THREE,
    servers: ONE.servers,
    hosts: &["n100", "ryzen", "pi5"],
};

/// One on each host.
pub(super) const SPREAD: Layout = Layout {
    fleet: "three",
    cluster: &CLUSTER_SPREAD,
    servers: ["k3s-cp-a-1", "k3s-cp-b-1", "k3s-cp-c-1"],
    hosts: THREE.hosts,
};

/// A server on each host, and agents on one of them.
pub(super) const SPREAD_WITH_AGENTS: Layout = Layout {
    cluster: &CLUSTER_SPREAD_WITH_AGENTS,
    ..SPREAD
};

/// Such a cluster.
pub(super) struct Home {
    pub(super) trial: Trial,
    pub(super) servers: [&'static str; 3],
    pub(super) hosts: &'static [&'static str],
    /// The authority's certificates, as all servers had them at the beginning.
    authority: String,
}

impl Home {
    /// Founded, with the object that is to be kept.
    pub(super) fn found(layout: &Layout, name: &str) -> Result<Self> {
        Self::found_as(layout, name, "disk-lost=new")
    }

    /// The same with one of the possibilities that Slicer's documentation leaves open.
    pub(super) fn found_as(layout: &Layout, name: &str, variant: &str) -> Result<Self> {
        let trial = Trial::up_as(layout.fleet, name, variant)?;
        layout.cluster.write(&trial)?;
        let done = trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
        say::line(format_args!("  init: {:.0} s", done.took.as_secs_f64()));
        trial
            .me("slicer-k3s kubectl create configmap keep --from-literal=made=before")?
            .expect(0)?;
        let mut home = Self {
            trial,
            servers: layout.servers,
            hosts: layout.hosts,
            authority: String::new(),
        };
        home.authority = home.authority_of(home.servers[0])?;
        home.whole().context("after the first init")?;
        Ok(home)
    }

    /// A VM's disk is lost, and with it the VM.
    pub(super) fn lose(&self, server: &str) -> Result<()> {
        self.trial.fault(&["disk-lost", server])
    }

    /// Run `init` on the cluster that is there, which must do what it is for.
    pub(super) fn init(&self) -> Result<Done> {
        let done = self.trial.me(UNPROVEN)?.expect(0)?;
        say::line(format_args!("  init: {:.0} s", done.took.as_secs_f64()));
        Ok(done)
    }

    /// Three Ready voters of the cluster of the beginning, each of which has what is to be kept and names another one to join;
    /// `status` sees nothing amiss.
    pub(super) fn whole(&self) -> Result<()> {
        healthy(&self.trial)?;
        self.stands()
    }

    /// The same with agents beside them.
    pub(super) fn stands(&self) -> Result<()> {
        voters(&self.trial)?;
        for server in self.servers {
            self.keeps(server)?;
            if self.authority_of(server)? != self.authority {
                bail!("{server} has another authority: it is of another cluster");
            }
        }
        self.ring()?;
        self.no_drift()
    }

    /// The same, and another `init` changes nothing.
    pub(super) fn settled(&self) -> Result<()> {
        self.whole()?;
        changes_nothing(&self.trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
    }

    /// What is to be kept is there, as this server by itself sees it.
    pub(super) fn keeps(&self, server: &str) -> Result<()> {
        let done = self.trial.root(server, KEEP)?;
        if done.stdout != "before" {
            bail!("{server} has lost the ConfigMap: {}", done.text());
        }
        Ok(())
    }

    /// No server can found another cluster with an empty disk: the first names the second, the others the first.
    pub(super) fn ring(&self) -> Result<()> {
        let [first, second, third] = self.servers;
        for (server, joins) in [(first, second), (second, first), (third, first)] {
            let file = self.config(server)?;
            let wanted = format!("server: https://{}:6443", self.address(joins)?);
            if file.contains("cluster-init") || !file.lines().any(|line| line == wanted) {
                let keys: Vec<&str> = file
                    .lines()
                    .filter(|line| line.starts_with("server:") || line.starts_with("cluster-init"))
                    .collect();
                bail!("the config.yaml of {server} has {keys:?}, not `{wanted}`");
            }
        }
        Ok(())
    }

    /// `status`: exit 0, and it says so.
    pub(super) fn no_drift(&self) -> Result<()> {
        let done = self.trial.me("slicer-k3s status")?.expect(0)?;
        if !done.stdout.contains("No drift") {
            bail!("exit code 0, and yet:\n{}", done.stdout);
        }
        Ok(())
    }

    /// Where a server is, by its own file.
    fn address(&self, server: &str) -> Result<String> {
        let file = self.config(server)?;
        let line = file.lines().find_map(|line| line.strip_prefix("node-ip: "));
        let address = line.with_context(|| format!("{server} has no node-ip"))?;
        Ok(address.to_owned())
    }

    /// k3s's file, without the quotes that YAML may need.
    fn config(&self, server: &str) -> Result<String> {
        let done = self
            .trial
            .root(server, "cat /etc/rancher/k3s/config.yaml")?;
        Ok(done.expect(0)?.stdout.replace(['"', '\''], ""))
    }

    fn authority_of(&self, server: &str) -> Result<String> {
        let text = self.trial.root(server, AUTHORITY)?.expect(0)?.stdout;
        if text.contains("BEGIN CERTIFICATE") {
            Ok(text)
        } else {
            bail!("{server} shows no authority: {text}")
        }
    }
}

/// The exit code is one of these, and the output has all of these words, wherever its lines are broken.
pub(super) fn says(done: &Done, codes: &[i32], words: &[&str]) -> Result<()> {
    let text = done.text();
    let flowing = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let missing: Vec<&&str> = words
        .iter()
        .filter(|word| !flowing.contains(**word))
        .collect();
    if codes.contains(&done.status) && missing.is_empty() {
        return Ok(());
    }
    bail!(
        "exit code {} (wanted {codes:?}), not said: {missing:?}; it said:\n{text}",
        done.status
    )
}
