//! Certificates that end soon, by the events that k3s writes about them: it renews its own at a start, and only then.

use serde_json::Value;

use super::{add, restart};
use crate::names::k3s::{
    AGENT_UNIT, AUTHORITIES_EXPIRE, CERTIFICATES_EXPIRE, CERTIFICATES_SOUND, UNIT,
};
use crate::status::document::{Drift, Node, Remark};
use crate::status::gather::Observed;
use crate::time;

/// The kind of remark and drift.
const KIND: &str = "certificates";

const DAY: i64 = 24 * 3600;

/// With less than this left, in seconds, it is drift.
const SHORT: i64 = 30 * DAY;

/// One check of k3s writes its events within so many seconds; what is older is of an earlier one.
const SAME_CHECK: i64 = 60;

/// Where k3s describes how its authorities are replaced.
const AUTHORITIES_PAGE: &str = "https://docs.k3s.io/cli/certificate";

/// What k3s wrote about a Node's certificates.
struct Event<'e> {
    node: &'e str,
    reason: &'e str,
    message: &'e str,
    /// When it was last written, in seconds since 1970.
    at: i64,
}

impl<'e> Event<'e> {
    fn of(event: &'e Value) -> Option<Self> {
        let at = [
            &event["lastTimestamp"],
            &event["metadata"]["creationTimestamp"],
        ];
        Some(Self {
            node: event["involvedObject"]["name"].as_str()?,
            reason: event["reason"].as_str()?,
            message: event["message"].as_str()?,
            at: at.into_iter().find_map(|at| time::unix(at.as_str()?))?,
        })
    }

    /// The time at which the first of the certificates ends. Each line ends in one, but for a line that was cut.
    fn end(&self) -> Option<(i64, &'e str)> {
        let times = self.message.lines().filter_map(|line| {
            let (_, text) = line.rsplit_once(" at ")?;
            Some((time::unix(text)?, text))
        });
        times.min()
    }
}

/// Certificates of Nodes and of the cluster's authorities that end soon: remarks, and drift once they have less than a month.
pub(super) fn expiring(
    seen: &Observed,
    nodes: &[Node],
    remarks: &mut Vec<Remark>,
    drift: &mut Vec<Drift>,
) {
    let Ok(cluster) = &seen.cluster else {
        return;
    };
    let events: Vec<Event> = cluster.certificates.iter().filter_map(Event::of).collect();
    // After a restart the events of before stay for an hour.
    let is_current = |event: &&Event| {
        let mut others = events.iter().filter(|other| other.node == event.node);
        !others.any(|other| {
            let sound = other.reason == CERTIFICATES_SOUND && other.at > event.at;
            sound || other.at > event.at + SAME_CHECK
        })
    };
    let current: Vec<&Event> = events.iter().filter(is_current).collect();
    let mut report = |machine: &str, whose: &str, event: &Event, next: String| {
        let Some((end, text)) = event.end() else {
            return;
        };
        let day: String = text.chars().take("2006-01-02".len()).collect();
        let left = end - event.at;
        let what = if left > 0 {
            format!("{whose} expire on {day}, in {} days", left / DAY)
        } else {
            format!("{whose} expired on {day}")
        };
        if left < SHORT {
            return add(drift, KIND, machine, what, next);
        }
        remarks.push(Remark {
            kind: KIND.to_owned(),
            machine: machine.to_owned(),
            what: format!("{what}: {next}"),
        });
    };
    for node in nodes {
        let own = |event: &&&Event| event.reason == CERTIFICATES_EXPIRE && event.node == node.name;
        if let Some(event) = current.iter().find(own) {
            let next = match node.role {
                "server" => restart(&node.name, UNIT),
                "agent" => restart(&node.name, AGENT_UNIT),
                _ => format!("restart k3s on {}", node.name),
            };
            report(&node.name, "its certificates", event, next);
        }
    }
    // Every server has the same authorities, and writes about them.
    let mut authorities = current.iter();
    if let Some(event) = authorities.find(|event| event.reason == AUTHORITIES_EXPIRE) {
        let next = format!("replace them as {AUTHORITIES_PAGE} says");
        report("cluster", "the CA certificates", event, next);
    }
}
