//! How a machine is reached: the user's own configuration, jump hosts, and nobody there.

use slicer_k3s::failure::Code;
use slicer_k3s::remote::ssh::{HostTarget, KeyPolicy};

use crate::LIMIT;
use crate::sshd::House;

#[tokio::test(flavor = "multi_thread")]
async fn jump_hosts_come_from_cluster_toml_and_from_the_users_configuration() {
    let house = house!("");
    let door = format!("127.0.0.1:{}", house.port());
    let explicit = HostTarget {
        jump: Some(format!("{door},{door}")),
        ..house.target()
    };
    let remote = house
        .connect_as(&explicit, KeyPolicy::default())
        .await
        .unwrap();
    let hops = remote
        .exec("echo $SSH_CONNECTION", b"", LIMIT)
        .await
        .unwrap();
    assert!(hops.ok());

    house.configure(&format!(
        "Host inner\n  HostName 127.0.0.1\n  Port {0}\n  ProxyJump door\nHost door\n  HostName 127.0.0.1\n  Port {0}\n\
         Host proxied\n  ProxyCommand nc %h %p\n",
        house.port()
    ));
    let inner = HostTarget {
        target: "inner".into(),
        ..HostTarget {
            port: None,
            ..house.target()
        }
    };
    house
        .connect_as(&inner, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap();
    let proxied = HostTarget {
        target: "proxied".into(),
        ..house.target()
    };
    let failure = house
        .connect_as(&proxied, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_machines_are_told_apart() {
    let house = house!("");
    let closed = HostTarget {
        port: Some(1),
        ..house.target()
    };
    let failure = house
        .connect_as(&closed, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::SshUnreachable);
    assert!(failure.hint.unwrap().contains("SSH server"));
    let unknown = HostTarget {
        target: "no-such-machine.invalid".into(),
        ..house.target()
    };
    let failure = house
        .connect_as(&unknown, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::SshUnreachable);
    assert!(failure.cause.unwrap().contains("no-such-machine.invalid"));
}

/// OpenSSH's own words decide, so that whatever works with `ssh` works here.
#[tokio::test(flavor = "multi_thread")]
async fn includes_and_matches_of_the_users_configuration_hold() {
    let house = house!("");
    let more = house.path("more.conf");
    let included = format!(
        "Host inner\n  HostName 127.0.0.1\n  Port {}\n",
        house.port()
    );
    std::fs::write(&more, included).unwrap();
    std::fs::rename(house.path("id"), house.path("elsewhere")).unwrap();
    let user = house.user();
    house.configure(&format!(
        "Include {}\nMatch originalhost inner user {user}\n  IdentityFile {}\n",
        more.display(),
        house.path("elsewhere").display(),
    ));
    let inner = |user: &str| HostTarget {
        target: format!("{user}@inner"),
        port: None,
        ..house.target()
    };
    let policy = KeyPolicy::default;
    // The key is found only where Match holds, the address only in the included file.
    let reached = house.connect_as(&inner(user), policy()).await;
    reached.map(drop).unwrap();
    let failure = house.connect_as(&inner("somebody-else"), policy()).await;
    assert_eq!(failure.map(drop).unwrap_err().code, Code::SshAuth);
}
