//! How many VMs fit: by RAM and cores for the default, by addresses for the whole cluster.

use ipnet::Ipv4Net;

use crate::facts::HostFacts;

/// vCPUs that one core is shared among by default: agents are seldom all busy.
const SHARE: u32 = 2;

/// Most agents of a host by default, and why: what RAM and cores leave beside the servers there.
pub fn default_max(
    facts: &HostFacts,
    (servers, server_cpu, server_ram): (u32, u32, u32),
    (cpu, ram_gb): (u32, u32),
) -> (u32, String) {
    let (cores, ram) = (facts.cores, facts.ram_gb());
    let ram_left = ram.saturating_sub(servers * server_ram);
    let cpu_left = (SHARE * cores).saturating_sub(servers * server_cpu);
    let max = (ram_left / ram_gb.max(1)).min(cpu_left / cpu.max(1));
    let beside = match servers {
        0 => String::new(),
        1 => " beside a server".to_owned(),
        n => format!(" beside {n} servers"),
    };
    let sum = format!("{ram} GB RAM by {ram_gb}, {SHARE} × {cores} cores by {cpu}{beside}");
    if max == 0 {
        return (
            1,
            format!("{sum} leaves no room: one VM all the same, it may be slow"),
        );
    }
    (max, sum)
}

/// Nodes that the pods' network can hold: k3s gives each a /24.
pub(super) fn nodes(cluster_cidr: Ipv4Net) -> u64 {
    (1_u64 << 24_u8.saturating_sub(cluster_cidr.prefix_len())).saturating_sub(1)
}

/// VMs that a group's network can hold: not the network, the gateway, nor the broadcast address.
pub(super) fn vms(cidr: Ipv4Net) -> u64 {
    (1_u64 << 32_u8.saturating_sub(cidr.prefix_len())).saturating_sub(3)
}
