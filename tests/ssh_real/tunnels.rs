//! Tunnels: what they carry, who may use them, and servers that forbid them.

use std::sync::Arc;
use std::time::Duration;

use slicer_k3s::failure::Code;
use slicer_k3s::remote::{Machine, Sudo, tunnel};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::sshd::House;

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
    assert!(!failure.is_permanent());
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
