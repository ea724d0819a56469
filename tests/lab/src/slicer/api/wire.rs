//! The JSON of VMs, as the API spells it.

use serde_json::{Value, json};

use crate::{
    daemon::{
        fleet::{Fleet, Node},
        record::Record,
    },
    host::profile,
    time,
};

/// The architecture in the spelling that the variant chooses.
pub(crate) fn arch(fleet: &Fleet) -> &str {
    if fleet.variant.is("arch", "amd64") {
        profile::go_arch(&fleet.arch)
    } else {
        &fleet.arch
    }
}

/// A VM in a list: its address without the mask.
pub(crate) fn node(fleet: &Fleet, node: &Node) -> Value {
    let record = &node.record;
    let mut value = json!({
        "hostname": record.hostname,
        "ip": record.address.addr().to_string(),
        "created_at": time::daemon_time(record.created_nanos()),
    });
    if !fleet.variant.is("node-fields", "absent")
        && let Some(fields) = value.as_object_mut()
    {
        fields.insert("hostgroup".into(), json!(record.group));
        fields.insert("ram_bytes".into(), json!(record.ram_bytes));
        fields.insert("cpus".into(), json!(record.cpus));
        fields.insert("arch".into(), json!(arch(fleet)));
        fields.insert("status".into(), json!(node.state.word()));
        fields.insert("persistent".into(), json!(record.persistent));
        if !record.tags.is_empty() {
            fields.insert("tags".into(), json!(record.tags));
        }
        // Newer daemons only, and only once there was one (slicervm/sdk@57bfee7 types_wire_test.go).
        if let Some(called) = node.called {
            let called = time::daemon_time(called);
            fields.insert("last_agent_call".into(), json!(called));
        }
    }
    value
}

/// A VM by itself: with what it is made of. Fields by Slicer's SDK (types.go, `SlicerVMDescription`); where there is
/// no isolated network, nothing is allowed or dropped.
pub(crate) fn described(fleet: &Fleet, of: &Node) -> Value {
    let mut value = node(fleet, of);
    if let Some(fields) = value.as_object_mut() {
        let policy = json!({"allow": [], "drop": []});
        fields.insert("storage".into(), json!("image"));
        fields.insert("image".into(), json!(fleet.settings.image));
        let network = json!({"mode": "bridge", "host_group": policy, "effective": policy});
        fields.insert("network".into(), network);
    }
    value
}

/// A VM just made: its address with the mask.
pub(crate) fn created(fleet: &Fleet, record: &Record) -> Value {
    json!({
        "hostname": record.hostname,
        "hostgroup": record.group,
        "ip": record.address.to_string(),
        "created_at": time::daemon_time(record.created_nanos()),
        "arch": arch(fleet),
        "persistent": record.persistent,
    })
}
