//! Certificates that end soon, by k3s's events.

use super::*;

const AGENT: &str = "k3s-agents-1-1-00ff00ff";

fn event(node: &str, reason: &str, at: &str, message: &str) -> Value {
    json!({
        "involvedObject": {"kind": "Node", "name": node},
        "reason": reason, "message": message, "lastTimestamp": at,
    })
}

/// k3s's words of two certificates, the later one first.
fn expire(node: &str, at: &str, day: &str) -> Value {
    let message = format!(
        "Node certificates require attention - restart k3s on this node to trigger automatic rotation: \
         kubelet/client-kubelet.crt: certificate CN=system:node:n,O=system:nodes will expire within 120 days at \
         2024-03-01T10:00:00Z\nadmin/client-admin.crt: certificate CN=system:admin will expire within 120 days at {day}T10:00:00Z"
    );
    event(node, "CertificateExpirationWarning", at, &message)
}

fn seen_with(events: Vec<Value>) -> Observed {
    let mut seen = healthy();
    if let Ok(cluster) = &mut seen.cluster {
        cluster.certificates = events;
    }
    seen
}

fn remarks(seen: &Observed) -> Vec<(String, String)> {
    let remarks = compare(&plan(), seen).remarks.into_iter();
    remarks.map(|it| (it.machine, it.what)).collect()
}

/// k3s renews them only at a start, so one that runs for a year without one stops.
#[test]
fn certificates_that_end_are_a_remark_and_drift_in_the_last_month() {
    let later = seen_with(vec![expire(AGENT, "2023-11-14T22:00:00Z", "2024-02-01")]);
    assert_eq!(told(&later), []);
    let what = "its certificates expire on 2024-02-01, in 78 days: slicer-k3s exec k3s-agents-1-1-00ff00ff -- systemctl \
                restart k3s-agent";
    assert_eq!(remarks(&later), [(AGENT.to_owned(), what.to_owned())]);

    let soon = seen_with(vec![expire(
        "k3s-cp-2",
        "2023-11-14T22:00:00Z",
        "2023-12-01",
    )]);
    assert_eq!(told(&soon), one("certificates", "k3s-cp-2"));
    let drift = compare(&plan(), &soon).drift.remove(0);
    assert_eq!(
        drift.mend,
        "slicer-k3s exec k3s-cp-2 -- systemctl restart k3s"
    );
    let over = seen_with(vec![expire(
        "k3s-cp-2",
        "2023-11-14T22:00:00Z",
        "2023-11-01",
    )]);
    let drift = compare(&plan(), &over).drift.remove(0);
    assert_eq!(drift.what, "its certificates expired on 2023-11-01");
}

/// Events stay for an hour: those of before a restart would call for another one.
#[test]
fn a_restart_ends_the_warning() {
    let old = expire("k3s-cp-2", "2023-11-14T22:00:00Z", "2023-12-01");
    let sound = event(
        "k3s-cp-2",
        "CertificateExpirationOK",
        "2023-11-14T22:00:20Z",
        "Node and Certificate Authority certificates managed by k3s are OK",
    );
    let seen = seen_with(vec![old, sound]);
    assert_eq!((told(&seen), remarks(&seen)), (vec![], vec![]));
}

#[test]
fn authorities_are_reported_once() {
    let message = "Certificate Authority certificates require attention - check k3s documentation and begin planning rotation: \
                   certificate-authority/server-ca.crt: certificate CN=k3s-server-ca@1 will expire within 365 days at \
                   2024-08-01T10:00:00Z";
    let of = |node| {
        event(
            node,
            "CACertificateExpirationWarning",
            "2023-11-14T22:00:00Z",
            message,
        )
    };
    let seen = seen_with(vec![of("k3s-cp-1"), of("k3s-cp-2"), of("k3s-cp-3")]);
    assert_eq!(told(&seen), []);
    let remarks = remarks(&seen);
    assert_eq!((remarks.len(), &*remarks[0].0), (1, "cluster"));
}

/// What is no time, or was cut, is no certificate's end.
#[test]
fn a_message_that_cannot_be_read_says_nothing() {
    let cut = event(
        "k3s-cp-1",
        "CertificateExpirationWarning",
        "2023-11-14T22:00:00Z",
        "Node certificates require attention: a/b.crt: certificate CN=x will expire within 120 days at 2024-0",
    );
    let odd = json!({"reason": "CertificateExpirationWarning"});
    let seen = seen_with(vec![cut, odd]);
    assert_eq!((told(&seen), remarks(&seen)), (vec![], vec![]));
}
