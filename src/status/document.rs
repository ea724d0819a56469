//! The document: what `status --output json` prints (docs/status.md), and what the text is rendered from.

use std::net::Ipv4Addr;

use serde::Serialize;

use crate::config::Problem;
use crate::failure::{Code, Failure};
use crate::plan::Role;

/// The contract's version; grows only when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The cluster as it was just seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The contract's version.
    pub version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The k3s version that was decided for the servers.
    pub k3s_version: String,
    /// Hosts of cluster.toml.
    pub hosts: Vec<Host>,
    /// Groups, each with its daemon.
    pub groups: Vec<Group>,
    /// Nodes as Kubernetes lists them, and servers that have none.
    pub nodes: Vec<Node>,
    /// Agents' versions of k3s against the servers'.
    pub skew: Skew,
    /// Pods that wait for a place or an image; null where Kubernetes did not answer.
    pub pods_pending: Option<usize>,
    /// Whether the autoscaler's Deployment is available; null where it was not seen.
    pub autoscaler_available: Option<bool>,
    /// What the worker groups can hold.
    pub capacity: Capacity,
    /// What is wrong with cluster.toml. Where anything is, the rest goes by what the last run read.
    pub config_problems: Vec<ConfigProblem>,
    /// What is as it should be for now, and worth knowing.
    pub remarks: Vec<Remark>,
    /// What is not as it should be.
    pub drift: Vec<Drift>,
}

/// One mistake in cluster.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigProblem {
    /// The file, as it was named to us.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

impl From<&Problem> for ConfigProblem {
    fn from(problem: &Problem) -> Self {
        Self {
            file: problem.file.clone(),
            line: problem.place.line,
            column: problem.place.column,
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        }
    }
}

/// One thing that passes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// What kind: a stable word; where it does not pass, a drift has the same.
    pub kind: String,
    /// The machine it is about.
    pub machine: String,
    /// What there is.
    pub what: String,
}

/// How far we came with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// It was looked at.
    Answers,
    /// It lets us in; sudo requires a password, or refuses.
    NeedsSudo,
    /// It is there and refuses us, or we refuse its host key.
    Refuses,
    /// It let us in and does not answer any more, or not in time.
    Silent,
    /// It was not tried, for the way to it is not right on this workstation.
    Untried,
    /// Nothing answers at its address.
    Off,
}

impl HostState {
    /// The state of a host that could not be looked at.
    pub(super) fn of(failure: &Failure) -> Self {
        match failure.code {
            Code::SshUnreachable => Self::Off,
            Code::Sudo => Self::NeedsSudo,
            Code::SshLost | Code::Command => Self::Silent,
            Code::Config | Code::LocalFile => Self::Untried,
            _ => Self::Refuses,
        }
    }
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Host {
    /// Its name in cluster.toml.
    pub name: String,
    /// Whether it could be looked at.
    pub answers: bool,
    /// Whether it could, and else how far we came.
    pub state: HostState,
    /// The address by which the other hosts reach it, as planned.
    pub address: Option<Ipv4Addr>,
    /// Slicer's version.
    pub slicer: Option<String>,
    /// Processors.
    pub cores: Option<u32>,
    /// RAM in GiB.
    pub ram_gb: Option<u32>,
    /// Free disk in GB where VMs live.
    pub disk_free_gb: Option<u32>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The host its daemon runs on.
    pub host: String,
    /// What its VMs are for.
    pub role: Role,
    /// Whether its daemon's API answered.
    pub answers: bool,
    /// VMs it has; null where its daemon did not answer.
    pub vms: Option<usize>,
    /// Fewest VMs.
    pub min: u32,
    /// Most VMs.
    pub max: u32,
    /// vCPUs of a VM.
    pub cpu: u32,
    /// RAM of a VM in GiB.
    pub ram_gb: u32,
}

/// A Node, or a server that has none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `server`, `agent`, or `foreign` where neither cluster.toml nor the autoscaler made it.
    pub role: &'static str,
    /// Its group.
    pub group: Option<String>,
    /// The host of its VM.
    pub host: Option<String>,
    /// Its VM.
    pub vm: Option<String>,
    /// Whether it is Ready; null where Kubernetes does not list it.
    pub ready: Option<bool>,
    /// Whether it takes no new pods.
    pub cordoned: bool,
    /// Its kubelet's version.
    pub version: Option<String>,
    /// Whether its etcd member votes (servers).
    pub votes: Option<bool>,
}

/// How many minor versions a kubelet may be older than any API server; it must not be newer than any.
///
/// Source: kubernetes.io/releases/version-skew-policy.
pub(super) const ALLOWED_SKEW: i64 = 3;

/// Agents' versions of k3s against the servers', of the Nodes that Kubernetes lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skew {
    /// The oldest agent's version; null where there is none.
    pub oldest_agent: Option<String>,
    /// The newest agent's version.
    pub newest_agent: Option<String>,
    /// How many minor versions the servers may move further ahead of the oldest agent; negative where it is too old already.
    pub minors_left: Option<i64>,
    /// Whether an agent is older than a server; for the text only.
    #[serde(skip)]
    pub behind: bool,
}

/// What the worker groups hold and can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Agents' VMs now, of the daemons that answered.
    pub agents: usize,
    /// Most agents.
    pub max_agents: u32,
    /// vCPUs of so many.
    pub max_cpu: u32,
    /// RAM of so many in GiB.
    pub max_ram_gb: u32,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// What kind: a stable word, a step's name where a step found it.
    pub kind: String,
    /// The machine it is about: a host, a VM or "cluster".
    pub machine: String,
    /// What differs.
    pub what: String,
    /// The command or deed that mends it.
    pub mend: String,
}
