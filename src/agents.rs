//! Which VMs of a group have joined the cluster, and which had the time to and did not: one rule for what `status` reports, for
//! what `init` removes, and for what a proof cleans up. Pure.

use serde_json::Value;

use crate::names::autoscaler::{GROUP_LABEL, JOIN, VM_LABEL};
use crate::names::kubernetes::{READY, TRUE};
use crate::time;
use crate::vm::Vm;

/// How old a VM is in seconds at `now`, both by its host's clock; `None` where Slicer does not say when it was made.
pub fn age(vm: &Vm, now: i64) -> Option<i64> {
    let made = vm.created_at.as_deref().and_then(time::unix)?;
    Some(now.saturating_sub(made))
}

/// Whether a VM was made so recently that it may still be joining.
pub fn is_young(vm: &Vm, now: i64) -> bool {
    age(vm, now).is_some_and(|age| age < JOIN)
}

/// The VMs of a group that have no Node, of all the Nodes that Kubernetes has.
pub fn without_node<'v>(group: &str, vms: &'v [Vm], nodes: &[Value]) -> Vec<&'v Vm> {
    let joined = |vm: &Vm| nodes.iter().any(|node| is_node_of(node, group, vm));
    vms.iter().filter(|vm| !joined(vm)).collect()
}

/// The time in seconds since 1970, by each of the clocks that go into [`had_time`]: they may differ by more than a VM takes to join.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// By the clock of the VM's host, which wrote when the VM was made.
    pub host: i64,
    /// By a server's clock, which wrote since when the servers are as they are.
    pub servers: i64,
}

/// How long in seconds a VM has had to join at `now`: since it was made, and since the last server became Ready or stopped
/// being so, for an agent that waited for its server needs a while when that is back. `None` where this is not known.
pub fn had_time(vm: &Vm, servers: &[String], nodes: &[Value], now: Now) -> Option<i64> {
    let mut time = age(vm, now.host)?;
    let mut ready = false;
    for node in nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        if !servers.iter().any(|server| server == name) {
            continue;
        }
        let mut conditions = node["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten();
        let own = conditions.find(|condition| condition["type"] == READY)?;
        let since = own["lastTransitionTime"].as_str().and_then(time::unix)?;
        time = time.min(now.servers.saturating_sub(since));
        ready |= own["status"] == TRUE;
    }
    ready.then_some(time)
}

/// Whether it is the VM's Node, by its labels, its name or its address: someone may have taken a label away, and a VM whose
/// Node is there is never taken for one without.
pub fn is_node_of(node: &Value, group: &str, vm: &Vm) -> bool {
    let labels = &node["metadata"]["labels"];
    let labelled = labels[GROUP_LABEL] == group && labels[VM_LABEL] == *vm.hostname;
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let mut listed = node["status"]["addresses"].as_array().into_iter().flatten();
    let is_there = !vm.address().is_empty()
        && listed.any(|address| address["address"].as_str() == Some(vm.address()));
    labelled || is_name_of(name, &vm.hostname) || is_there
}

/// A Node is called as its VM, with an id behind it where k3s was told so (`--with-node-id`).
///
/// Source: k3s@af977adf pkg/agent/config/config.go, `ensureNodeID` (four random bytes in hexadecimal).
pub fn is_name_of(node: &str, vm: &str) -> bool {
    node.strip_prefix(vm).is_some_and(is_node_id)
}

/// Whether a Node is called as one of the group's VMs, which are numbered.
pub fn is_of_group(node: &str, group: &str) -> bool {
    after_number(node, group).is_some_and(is_node_id)
}

/// Whether it is the name of one of the group's VMs: the group's with a number.
pub fn is_numbered(vm: &str, group: &str) -> bool {
    after_number(vm, group).is_some_and(str::is_empty)
}

/// What follows the group's name and a number.
fn after_number<'a>(name: &'a str, group: &str) -> Option<&'a str> {
    let number = name.strip_prefix(group)?.strip_prefix('-')?;
    let rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < number.len()).then_some(rest)
}

/// Whether it is what may stand behind a VM's name in its Node's: nothing, or an id.
fn is_node_id(rest: &str) -> bool {
    let id = rest.strip_prefix('-');
    let hex = |id: &str| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    rest.is_empty() || id.is_some_and(hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vm(name: &str, made: Option<&str>) -> Vm {
        let vm = json!({"hostname": name, "ip": "192.168.138.7/24", "created_at": made});
        serde_json::from_value(vm).unwrap()
    }

    #[test]
    fn a_node_counts_by_any_of_its_marks() {
        let agent = [vm("a-1", None)];
        for (node, joined) in [
            (
                json!({"metadata": {"name": "x", "labels": {"slicer/hostgroup": "a", "slicer/hostname": "a-1"}}}),
                true,
            ),
            (
                json!({"metadata": {"name": "x", "labels": {"slicer/hostgroup": "b", "slicer/hostname": "a-1"}}}),
                false,
            ),
            (json!({"metadata": {"name": "a-1"}}), true),
            (json!({"metadata": {"name": "a-1-00ff00ff"}}), true),
            (json!({"metadata": {"name": "a-10-00ff00ff"}}), false),
            (
                json!({"metadata": {"name": "x"}, "status": {"addresses": [{"address": "192.168.138.7"}]}}),
                true,
            ),
            (
                json!({"metadata": {"name": "x"}, "status": {"addresses": [{"address": "192.168.138.77"}]}}),
                false,
            ),
        ] {
            let left = without_node("a", &agent, std::slice::from_ref(&node));
            assert_eq!(left.is_empty(), joined, "{node}");
        }
    }

    #[test]
    fn a_node_is_of_a_group_by_its_number() {
        for (node, group, of) in [
            ("a-1-4-00ff00ff", "a-1", true),
            ("a-1-4", "a-1", true),
            ("a-1-4-00ff00ff", "a", false),
            ("a-1-00ff00ff", "a-1", false),
            ("a-10-4", "a-1", false),
            ("a-1-", "a-1", false),
        ] {
            assert_eq!(is_of_group(node, group), of, "{node} {group}");
        }
    }

    /// Agents that waited for a server that was down joined 50 s after it was back.
    #[test]
    fn time_counts_from_when_the_servers_are_what_they_are() {
        let server = |name: &str, status: &str, since: &str| {
            json!({"metadata": {"name": name}, "status": {"conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": since}]}})
        };
        let names = ["s-1".to_owned(), "s-2".to_owned()];
        let old = vm("a-1", Some("1970-01-01T00:00:00Z"));
        let long = server("s-1", "True", "1970-01-01T00:00:00Z");
        let now = Now {
            host: 1000,
            servers: 1000,
        };
        let had = |vm: &Vm, nodes: &[Value]| had_time(vm, &names, nodes, now);
        assert_eq!(had(&old, std::slice::from_ref(&long)), Some(1000));
        assert_eq!(had(&vm("a-1", None), std::slice::from_ref(&long)), None);
        let back = server("s-2", "True", "1970-01-01T00:16:00Z");
        assert_eq!(had(&old, &[long.clone(), back]), Some(40));
        // A host whose clock is ahead does not make the servers' change older.
        let ahead = Now { host: 2000, ..now };
        let back = server("s-2", "True", "1970-01-01T00:16:00Z");
        assert_eq!(
            had_time(&old, &names, &[long.clone(), back], ahead),
            Some(40)
        );
        let lost = server("s-2", "Unknown", "1970-01-01T00:16:00Z");
        assert_eq!(had(&old, &[long.clone(), lost]), Some(40));
        let off = server("s-2", "Unknown", "1970-01-01T00:00:00Z");
        assert_eq!(had(&old, &[long, off.clone()]), Some(1000));
        // No server is Ready, or none is listed: nothing can join.
        assert_eq!(had(&old, &[off]), None);
        assert_eq!(had(&old, &[]), None);
        let foreign = server("mine", "False", "1970-01-01T00:16:00Z");
        assert_eq!(had(&old, &[foreign]), None);
    }
}
