//! Whom we talk with: known, unknown, pinned, changed and revoked host keys.

use slicer_k3s::failure::Code;
use slicer_k3s::remote::ssh::{HostTarget, KeyPolicy};

use crate::sshd::{Answer, House, ssh_keygen};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_key_is_refused_asked_for_or_accepted_as_told() {
    let house = house!("");
    house.write_known_hosts("");
    let failure = house.refused().await;
    assert_eq!(failure.code, Code::HostKeyUnknown);
    let hint = failure.hint.unwrap();
    assert!(
        hint.contains(&format!("host-key = \"{}\"", house.fingerprint())),
        "{hint}"
    );

    assert_eq!(
        house
            .asking(Answer::No)
            .connect()
            .await
            .map(drop)
            .unwrap_err()
            .code,
        Code::Declined
    );
    assert_eq!(house.known_hosts(), "");
    house.asking(Answer::Yes).connect().await.map(drop).unwrap();
    let learnt = house.known_hosts();
    assert!(
        learnt.starts_with(&format!("[127.0.0.1]:{} ssh-ed25519 ", house.port())),
        "{learnt}"
    );
    // Known from now on: nobody is asked.
    house.connect().await.map(drop).unwrap();

    house.write_known_hosts("# no end of line");
    let policy = KeyPolicy { accept_new: true };
    house
        .connect_as(&house.target(), policy)
        .await
        .map(drop)
        .unwrap();
    assert_eq!(
        house.known_hosts().lines().count(),
        2,
        "{}",
        house.known_hosts()
    );
    house.connect().await.map(drop).unwrap();
}

/// Debian's default: a file of known_hosts is not to tell where its owner logs in.
#[tokio::test(flavor = "multi_thread")]
async fn a_learnt_host_is_hashed_where_the_users_ssh_does_so() {
    let house = house!("");
    house.configure("  HashKnownHosts yes\n");
    house.write_known_hosts("");
    house.asking(Answer::Yes).connect().await.map(drop).unwrap();
    let learnt = house.known_hosts();
    assert!(
        learnt.starts_with("|1|") && !learnt.contains("127.0.0.1"),
        "{learnt}"
    );
    house.connect().await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_key_needs_no_known_hosts_and_another_is_refused() {
    let house = house!("");
    house.write_known_hosts("");
    // The ECDSA key, though the server would rather show its Ed25519 key.
    let pinned = HostTarget {
        host_key: Some(house.fingerprint_of("ecdsa")),
        ..house.target()
    };
    house
        .connect_as(&pinned, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap();
    let wrong = HostTarget {
        host_key: Some("SHA256:AAAA".into()),
        ..house.target()
    };
    let failure = house
        .connect_as(&wrong, KeyPolicy { accept_new: true })
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::HostKeyChanged);
    assert_eq!(house.known_hosts(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_or_revoked_host_key_stops_us_whatever_the_policy() {
    let house = house!("");
    let other = house.other_public_key();
    house.write_known_hosts(&format!("[127.0.0.1]:{} {other}\n", house.port()));
    let accept = KeyPolicy { accept_new: true };
    let failure = house
        .connect_as(&house.target(), accept)
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::HostKeyChanged);
    let cause = failure.cause.unwrap();
    assert!(
        cause.contains("known_hosts:1") && cause.contains(&house.fingerprint()),
        "{cause}"
    );

    house.write_known_hosts(&format!("@revoked * {}\n", house.public_key("ed25519")));
    for target in [
        house.target(),
        HostTarget {
            host_key: Some(house.fingerprint()),
            ..house.target()
        },
    ] {
        let failure = house
            .connect_as(&target, accept)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(failure.code, Code::HostKeyChanged, "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_key_of_a_less_wanted_kind_is_asked_for_and_hashed_names_are_found() {
    let house = house!("");
    house.write_known_hosts(&format!(
        "[127.0.0.1]:{} {}\n",
        house.port(),
        house.public_key("ecdsa")
    ));
    ssh_keygen(&[
        "-H",
        "-q",
        "-f",
        house.path("known_hosts").to_str().unwrap(),
    ]);
    assert!(
        house.known_hosts().starts_with("|1|"),
        "{}",
        house.known_hosts()
    );
    house.connect().await.map(drop).unwrap();
}
