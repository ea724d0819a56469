//! The daemon's VMs: who they are, what they do, and the rules by which they come and go.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    group::Group,
    record::{Record, State},
    secrets::Secrets,
    settings::Settings,
};
use crate::{
    host::{Places, fault::Faults, variant::Variant},
    machine::Machines,
    time,
};

/// One VM in the daemon's table.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What it is made of.
    pub(crate) record: Record,
    /// What it does.
    pub(crate) state: State,
    /// Counts launches, so that the end of an earlier one is not taken for that of this one.
    pub(crate) launch: u64,
    /// When its agent was last asked for something, in nanoseconds since the epoch.
    pub(crate) called: Option<i64>,
    /// Held while it is being started, stopped or removed.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

/// Everything that the daemon's tasks share.
pub(crate) struct Fleet {
    /// What the YAML says.
    pub(crate) settings: Settings,
    /// Where things lie.
    pub(crate) places: Places,
    /// The host's variants.
    pub(crate) variant: Variant,
    /// The host's faults.
    pub(crate) faults: Faults,
    /// The host's architecture.
    pub(crate) arch: String,
    /// The secrets.
    pub(crate) secrets: Secrets,
    /// What runs the VMs.
    pub(crate) machines: Arc<dyn Machines>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    nodes: BTreeMap<String, Node>,
    /// The highest number ever given, by group: for monotonic hostnames.
    highest: BTreeMap<String, u32>,
    launches: u64,
}

impl Fleet {
    /// An empty fleet.
    pub(crate) fn new(
        settings: Settings,
        places: Places,
        variant: Variant,
        arch: String,
        machines: Arc<dyn Machines>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            secrets: Secrets::in_directory(&places.work, !variant.is("secrets-dir", "manual"))?,
            faults: Faults::of(&places.lab),
            table: Mutex::default(),
            settings,
            places,
            variant,
            arch,
            machines,
        })
    }

    /// A group by its name.
    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.settings.groups.iter().find(|group| group.name == name)
    }

    /// The groups' names.
    pub(crate) fn group_names(&self) -> impl Iterator<Item = &str> {
        self.settings.groups.iter().map(|group| group.name.as_str())
    }

    /// A VM by its hostname.
    pub(crate) fn node(&self, hostname: &str) -> Option<Node> {
        self.table().nodes.get(hostname).cloned()
    }

    /// What a VM is now, if it is still there. Another VM may have got its name.
    pub(crate) fn still(&self, node: &Node) -> Option<Node> {
        self.node(&node.record.hostname)
            .filter(|now| Arc::ptr_eq(&now.turn, &node.turn))
    }

    /// All VMs, in the order of groups and numbers.
    pub(crate) fn nodes(&self, group: Option<&str>) -> Vec<Node> {
        let mut nodes: Vec<Node> = self
            .table()
            .nodes
            .values()
            .filter(|node| group.is_none_or(|group| node.record.group == group))
            .cloned()
            .collect();
        nodes.sort_by_key(|node| (node.record.group.clone(), node.record.number));
        nodes
    }

    /// Puts a VM into the table under a free number and address, or says why there is none.
    pub(crate) fn admit(
        &self,
        group: &Group,
        address: Option<std::net::Ipv4Addr>,
        make: impl FnOnce(u32, std::net::Ipv4Addr) -> Record,
    ) -> Result<Node, String> {
        let mut table = self.table();
        let number = if self.variant.is("hostnames", "monotonic") {
            table
                .highest
                .get(&group.name)
                .map_or(1, |highest| highest + 1)
        } else {
            let taken = |n: &u32| {
                table
                    .nodes
                    .values()
                    .any(|node| node.record.group == group.name && node.record.number == *n)
            };
            (1..=u32::MAX).find(|n| !taken(n)).unwrap_or(u32::MAX)
        };
        group.tap(number).map_err(|error| error.to_string())?;
        let free = |address: &std::net::Ipv4Addr| {
            !table
                .nodes
                .values()
                .any(|node| node.record.address.addr() == *address)
        };
        let address = match address {
            Some(address) if !group.pool.contains(&address) => {
                return Err(format!(
                    "{address} is not an address of host group {}",
                    group.name
                ));
            }
            Some(address) if !free(&address) => return Err(format!("{address} is in use")),
            Some(address) => address,
            None => *group
                .pool
                .iter()
                .find(|address| free(address))
                .ok_or_else(|| format!("no free IP address in host group {}", group.name))?,
        };
        Ok(table.insert(make(number, address), State::Running))
    }

    /// Puts a VM that an earlier daemon left into the table.
    pub(crate) fn readmit(&self, record: Record) -> Node {
        self.table().insert(record, State::Stopped)
    }

    /// Begins another launch of a VM; `None` when it is gone.
    pub(crate) fn begin_launch(&self, hostname: &str) -> Option<Node> {
        let mut table = self.table();
        table.launches += 1;
        let launch = table.launches;
        let node = table.nodes.get_mut(hostname)?;
        node.launch = launch;
        node.state = State::Running;
        Some(node.clone())
    }

    /// Changes what a VM does, when it is still this launch of it.
    pub(crate) fn set_state(&self, hostname: &str, launch: u64, state: State) -> bool {
        let mut table = self.table();
        match table.nodes.get_mut(hostname) {
            Some(node) if node.launch == launch => {
                node.state = state;
                true
            }
            _ => false,
        }
    }

    /// Notes that a VM's agent was asked for something.
    pub(crate) fn called(&self, hostname: &str) {
        if let Some(node) = self.table().nodes.get_mut(hostname) {
            node.called = Some(time::nanos_now());
        }
    }

    /// Changes a VM's tags.
    pub(crate) fn change_tags(
        &self,
        hostname: &str,
        change: impl FnOnce(&mut Vec<String>),
    ) -> Option<Record> {
        let mut table = self.table();
        let node = table.nodes.get_mut(hostname)?;
        change(&mut node.record.tags);
        Some(node.record.clone())
    }

    /// Takes a VM out of the table.
    pub(crate) fn forget(&self, hostname: &str) {
        self.table().nodes.remove(hostname);
    }

    /// A task that died while it held the table left it whole: every change is one statement.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, record: Record, state: State) -> Node {
        let highest = self.highest.entry(record.group.clone()).or_default();
        *highest = (*highest).max(record.number);
        self.launches += 1;
        let node = Node {
            state,
            launch: self.launches,
            called: None,
            turn: Arc::default(),
            record,
        };
        self.nodes
            .insert(node.record.hostname.clone(), node.clone());
        node
    }
}
