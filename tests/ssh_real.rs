//! Our SSH against OpenSSH's own server: a real sshd on a loopback port, as the user who runs the tests, with keys,
//! configuration and known_hosts of its own in a temporary directory. Skipped, with the reason, where there is no sshd.

#![expect(
    clippy::unwrap_used,
    reason = "what a test sets up must work, or the test fails"
)]

mod sshd;

use std::sync::Arc;
use std::time::Duration;

use slicer_k3s::failure::Code;
use slicer_k3s::remote::ssh::{HostTarget, KeyPolicy};
use slicer_k3s::remote::{Input, Machine, Sudo, tunnel};
use sshd::{Answer, House, ssh_keygen};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(20);

/// Starts a house, or ends the test with the reason why there is none.
macro_rules! house {
    ($config:expr) => {
        match House::open($config) {
            Ok(house) => house,
            Err(why) => {
                println!("skipped: {why}");
                return;
            }
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_with_stdin_both_outputs_and_their_exit_status() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let out = remote
        .exec("cat; echo oops >&2; exit 7", b"hello", LIMIT)
        .await
        .unwrap();
    assert_eq!(
        (out.status, out.stdout.as_str(), out.last_words()),
        (7, "hello", "oops")
    );
    let killed = remote.exec("kill -9 $$", b"", LIMIT).await.unwrap();
    assert_eq!(killed.status, 128 + 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_input_and_output_at_once_do_not_block_each_other() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let big = vec![b'x'; 3 << 20];
    let out = remote.exec("cat", &big, LIMIT).await.unwrap();
    assert_eq!(out.stdout.len(), big.len());
    // More than is kept is read and dropped; input that nobody reads does not hold the command up.
    let out = remote
        .exec("head -c 6000000 /dev/zero | tr '\\0' y", &big, LIMIT)
        .await
        .unwrap();
    assert_eq!(
        (out.status, out.stdout.len()),
        (0, slicer_k3s::remote::OUTPUT_LIMIT)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_the_server_has_sessions_wait_for_their_turn() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let all = (0..24).map(|_| remote.exec("sleep 0.1; echo done", b"", LIMIT));
    for out in futures_util::future::join_all(all).await {
        assert_eq!(out.unwrap().stdout, "done\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_past_its_limit_fails_and_the_connection_lives_on() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    for _ in 0..12 {
        let failure = remote
            .exec("sleep 60", b"", Duration::from_millis(100))
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::Command);
    }
    assert!(remote.exec("true", b"", LIMIT).await.unwrap().ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_in_mid_command_is_said_and_the_next_command_reconnects() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let failure = remote
        .exec("kill -9 $PPID; sleep 5", b"", LIMIT)
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::SshLost, "{failure}");
    assert!(!failure.is_lasting());
    assert!(remote.exec("true", b"", LIMIT).await.unwrap().ok());
}

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

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_agent_and_refused_ones_are_named() {
    let house = house!("");
    std::fs::rename(house.path("id"), house.path("elsewhere")).unwrap();
    let failure = house.refused().await;
    assert_eq!(failure.code, Code::SshAuth);

    ssh_keygen(&[
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-f",
        house.path("wrong").to_str().unwrap(),
    ]);
    let wrong = HostTarget {
        key_file: Some(house.path("wrong").display().to_string()),
        ..house.target()
    };
    let failure = house
        .connect_as(&wrong, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap_err();
    let cause = failure.cause.unwrap();
    assert!(
        cause.contains("ssh-ed25519 SHA256:") && cause.contains("wrong"),
        "{cause}"
    );

    let agent = house.agent("elsewhere");
    house.with_agent(&agent).connect().await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_key_is_unlocked_by_a_person_or_named() {
    let house = house!("");
    let key = house.path("id").display().to_string();
    ssh_keygen(&["-q", "-p", "-P", "", "-N", "open sesame", "-f", &key]);
    let failure = house.refused().await;
    assert_eq!(failure.code, Code::SshAuth);
    assert!(failure.hint.unwrap().contains("ssh-add"));
    let person = house.asking(Answer::Secret("open sesame"));
    person.connect().await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_keys_and_certificates_open_the_door() {
    let house = house!("");
    let rsa = house.path("rsa").display().to_string();
    ssh_keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &rsa]);
    house.authorize(&std::fs::read_to_string(format!("{rsa}.pub")).unwrap());
    let target = HostTarget {
        key_file: Some(rsa),
        ..house.target()
    };
    house
        .connect_as(&target, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap();

    let (ca, key) = (
        house.path("ca").display().to_string(),
        house.path("signed").display().to_string(),
    );
    ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &ca]);
    ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &key]);
    ssh_keygen(&[
        "-q",
        "-s",
        &ca,
        "-I",
        "me",
        "-n",
        house.user(),
        &format!("{key}.pub"),
    ]);
    house.authorize(&format!(
        "cert-authority {}",
        std::fs::read_to_string(format!("{ca}.pub")).unwrap()
    ));
    let target = HostTarget {
        key_file: Some(key),
        ..house.target()
    };
    house
        .connect_as(&target, KeyPolicy::default())
        .await
        .map(drop)
        .unwrap();
}

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
async fn tunnels_carry_bytes_and_say_why_they_do_not() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let mut stream = remote.forward("127.0.0.1", house.port()).await.unwrap();
    let mut banner = [0; 8];
    stream.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let failure = remote
        .forward("127.0.0.1", port)
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::SshUnreachable);
    assert!(!failure.is_lasting());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forbids_tunnels_is_named_with_its_setting() {
    let house = house!("AllowTcpForwarding no\n");
    let remote = house.connect().await.unwrap();
    let failure = remote
        .forward("127.0.0.1", house.port())
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(failure.code, Code::SshForward);
    assert!(failure.hint.unwrap().contains("AllowTcpForwarding"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnels_near_ends_are_private_and_end_with_their_guard() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = house!("");
    let machine = Arc::new(Machine::new(
        "pi",
        house.connect().await.unwrap(),
        Sudo::Root,
    ));

    let socket = tunnel::socket(&machine, "127.0.0.1", house.port())
        .await
        .unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(socket.path()), mode(socket.path().parent().unwrap())),
        (0o600, 0o700)
    );
    let mut near = tokio::net::UnixStream::connect(socket.path())
        .await
        .unwrap();
    near.write_all(b"SSH-2.0-test\r\n").await.unwrap();
    let mut banner = [0; 8];
    near.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-");

    let loopback = tunnel::loopback(&machine, "127.0.0.1", house.port())
        .await
        .unwrap();
    let address = loopback.address();
    assert!(address.ip().is_loopback());
    let mut near = tokio::net::TcpStream::connect(address).await.unwrap();
    near.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-");
    let path = socket.path().to_owned();
    drop((socket, loopback));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_command_reads_its_input_has_a_terminal_if_asked_and_gives_its_status() {
    let house = house!("");
    let remote = house.connect().await.unwrap();
    let file = house.path("typed");
    let input = Input::Bytes(b"typed\n".to_vec());
    let command = format!("cat > {}; test -t 0 || exit 5", file.display());
    assert_eq!(remote.attach(&command, input, false).await.unwrap(), 5);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "typed\n");
    let nothing = Input::Bytes(Vec::new());
    let terminal = "test -t 0 && test -t 1 && exit 9";
    assert_eq!(remote.attach(terminal, nothing, true).await.unwrap(), 9);
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
