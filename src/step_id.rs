//! The names of all steps, and what identifies a step of a run.

use std::fmt;

use crate::named::named;

/// The subject of steps about the cluster as a whole.
const CLUSTER: &str = "cluster";

named! {
    /// Every step: the fact that it checks and makes true. The string form is stable: it is in events, in `status`, and a
    /// heading of docs/troubleshooting.md.
    pub enum StepName {
        /// The host forwards IPv4 packets, also after a reboot.
        Forwarding = "forwarding",
        /// The host carries a mark.
        HostMark = "host-mark",
        /// The host's servers reach those on other hosts under their own addresses, whatever Slicer masquerades.
        OwnAddresses = "own-addresses",
        /// The host has a route to the VMs of every other host, put back within seconds when it is lost.
        Routes = "routes",
        /// Slicer is installed on the host.
        SlicerInstalled = "slicer-installed",
        /// This workstation routes a control-plane network through its host (`--workstation-route`).
        WorkstationRoute = "workstation-route",
        /// A daemon's API answers with its token, refuses without, and is the one of our group.
        DaemonAnswers = "daemon-answers",
        /// A daemon's directory holds its host YAML and a place for secrets.
        DaemonConfig = "daemon-config",
        /// A running daemon has read its current configuration.
        DaemonCurrent = "daemon-current",
        /// A daemon runs, and starts at boot.
        DaemonRunning = "daemon-running",
        /// The cluster's API can be had.
        ApiReady = "api-ready",
        /// That the cluster was founded, and which servers vote, is on record.
        ClusterRecorded = "cluster-recorded",
        /// A server's etcd data makes room for another cluster's.
        DataSetAside = "data-set-aside",
        /// A server is a voting member of etcd.
        EtcdVoter = "etcd-voter",
        /// A server's file names the server that it would join without data.
        JoinAddress = "join-address",
        /// A server's k3s configuration lies on it, root's alone, before k3s does.
        K3sConfig = "k3s-config",
        /// k3s of the pinned version is installed on a server, by the same script on every one, and not started by it.
        K3sInstalled = "k3s-installed",
        /// k3s on a server writes its password file again at each start.
        K3sPasswordFile = "k3s-password-file",
        /// k3s runs on a server and its own API answers; servers after the first wait for the first one's.
        K3sStarted = "k3s-started",
        /// A server lets the cluster's key in.
        ServerKey = "server-key",
        /// The cluster's kubeconfig lies on the workstation, 0600, in a file of its own.
        KubeconfigSaved = "kubeconfig-saved",
        /// A server's Node is Ready.
        NodeReady = "node-ready",
        /// Of a server that lost its data the cluster keeps nothing.
        OldNodeRemoved = "old-node-removed",
        /// A server's Node has the taint that keeps ordinary pods off where cluster.toml asks for it, and only there.
        ServerTaint = "server-taint",
        /// A server and those that were there before it on other hosts reach each other.
        VmPath = "vm-path",
        /// SSH to a server works, with the host key that Slicer's agent told, which no other VM has.
        VmReachable = "vm-reachable",
        /// A server's VM is there, at its planned address, with an agent that answers.
        VmUp = "vm-up",
        /// The Nodes of agents are drained before these end by a restart of their daemon, or because others take their place.
        AgentsDrained = "agents-drained",
        /// A group's Nodes and VMs belong together, and its Nodes take pods unless a person cordoned them.
        AgentsSettled = "agents-settled",
        /// A worker daemon holds the current join token.
        K3sTokenSecret = "k3s-token-secret",
        /// A group's Nodes take no new pods and run none that could run elsewhere.
        NodesDrained = "nodes-drained",
        /// A worker group's API answers from every server.
        GroupReachable = "group-reachable",
        /// The components that k3s packages run on servers.
        AddonsOnServers = "addons-on-servers",
        /// The autoscaler's HelmChart object is the one we want, with the hash of the cloud-config that the cluster has.
        Chart = "chart",
        /// The autoscaler's cloud-config lies in the cluster, with the groups that are fit for it and no others.
        CloudConfig = "cloud-config",
        /// The autoscaler has a pod to run again, whatever became of the step that waits for it.
        AutoscalerResumed = "autoscaler-resumed",
        /// The autoscaler runs with the current cloud-config and has read every group.
        AutoscalerRunning = "autoscaler-running",
        /// Every server reaches the new agent's kubelet in its VM.
        AgentPath = "agent-path",
        /// Nothing is left of this run's proof, however it ended.
        ProofClean = "proof-clean",
        /// Nothing is on record of a group that left.
        ProofForgotten = "proof-forgotten",
        /// Nothing is left of a proof that was cut short, by a kill or a power cut.
        ProofLeftovers = "proof-leftovers",
        /// The cluster remembers that the group was proven in this form.
        Proven = "proven",
        /// Without the pod the agent went.
        ScaleDown = "scale-down",
        /// A pod that needs a new agent of the group got one and runs on it.
        ScaleUp = "scale-up",
        /// The cluster's bootstrap data hold the new agent token.
        AgentTokenSaved = "agent-token-saved",
        /// No VM of a group may have joined by an agent token that was replaced.
        AgentsReplaced = "agents-replaced",
        /// That a rotation of join tokens has begun is on record.
        RotationBegun = "rotation-begun",
        /// A daemon takes its host's new API token and refuses the old one.
        DaemonToken = "daemon-token",
        /// A host has a new Slicer API token.
        HostToken = "host-token",
        /// A server refuses the tokens that were given up.
        OldTokenRefused = "old-token-refused",
        /// The cluster's bootstrap data is sealed with the new server token.
        ServerToken = "server-token",
        /// Every server is Ready and votes.
        ServersWhole = "servers-whole",
        /// The workers of a group hold the new join token, and their services run with it.
        WorkerToken = "worker-token",
        /// The autoscaler is gone, so that it makes no VMs while others are removed.
        AutoscalerGone = "autoscaler-gone",
        /// A daemon is gone from its host.
        DaemonGone = "daemon-gone",
        /// A group that the daemon of its host's servers serves has no VMs left, nor anything of them.
        GroupEmptied = "group-emptied",
        /// A host carries nothing of the cluster any more.
        MarkGone = "mark-gone",
        /// A group has no Nodes.
        NodesGone = "nodes-gone",
        /// A host keeps no addresses of the cluster's servers any more.
        OwnAddressesGone = "own-addresses-gone",
        /// A host keeps no routes for the cluster any more; where it keeps none at all, the keeper is gone, too.
        RoutesGone = "routes-gone",
        /// A host has no routes to the VMs of one that left.
        RoutesWithdrawn = "routes-withdrawn",
        /// A last snapshot of etcd lies on the workstation, 0600.
        SnapshotKept = "snapshot-kept",
    }
}

impl StepName {
    /// This step for a host, a group or a server.
    pub fn on(self, subject: impl Into<String>) -> StepId {
        StepId {
            name: self,
            subject: subject.into(),
        }
    }

    /// This step for the cluster as a whole.
    pub fn on_cluster(self) -> StepId {
        self.on(CLUSTER)
    }
}

/// A step's identity: its name and the machine, group or server it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId {
    /// Which step.
    pub name: StepName,
    /// The host, group, server or "cluster".
    pub subject: String,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name.name(), self.subject)
    }
}
