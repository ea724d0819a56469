//! DNS, addresses and certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr as _;

use anyhow::Result;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::box_under_test::TestBox;
use crate::certificates::Authority;

fn question(name: &str, kind: RecordType) -> Result<Vec<u8>> {
    let mut message = Message::new();
    message
        .set_id(7)
        .add_query(Query::query(Name::from_str(name)?, kind));
    Ok(message.to_vec()?)
}

async fn over_udp(server: SocketAddr, packet: &[u8]) -> Result<Message> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.send_to(packet, server).await?;
    let mut reply = [0; 4096];
    let length = socket.recv(&mut reply).await?;
    Ok(Message::from_vec(&reply[..length])?)
}

async fn over_tcp(server: SocketAddr, packet: &[u8]) -> Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(u16::try_from(packet.len())?).await?;
    stream.write_all(packet).await?;
    let mut reply = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut reply).await?;
    Ok(Message::from_vec(&reply)?)
}

fn address(reply: &Message) -> Option<IpAddr> {
    reply.answers().first()?.data().ip_addr()
}

#[tokio::test]
async fn a_name_resolves_to_where_its_site_listens() -> Result<()> {
    let test = TestBox::start().await?;
    let (udp, tcp) = test.running.dns[0];
    let packet = question("GitHub.com.", RecordType::A)?;
    let here = Some(test.address("github.com")?.0.ip());
    assert_eq!(address(&over_udp(udp, &packet).await?), here);
    assert_eq!(address(&over_tcp(tcp, &packet).await?), here);
    Ok(())
}

#[tokio::test]
async fn the_rest_of_the_world_does_not_exist() -> Result<()> {
    let test = TestBox::start().await?;
    let (udp, _) = test.running.dns[0];
    let reply = over_udp(udp, &question("example.com.", RecordType::A)?).await?;
    assert_eq!(reply.response_code(), ResponseCode::NXDomain);
    // A resolver that asks for both families gives a name up on NXDOMAIN to either.
    let reply = over_udp(udp, &question("get.k3s.io.", RecordType::AAAA)?).await?;
    assert_eq!(reply.response_code(), ResponseCode::NoError);
    assert!(reply.answers().is_empty());
    Ok(())
}

#[tokio::test]
async fn the_authority_is_made_once_and_its_key_is_private() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir()?;
    Authority::ensure(dir.path())?;
    let first = std::fs::read(dir.path().join("ca.pem"))?;
    Authority::ensure(dir.path())?;
    assert_eq!(std::fs::read(dir.path().join("ca.pem"))?, first);
    let mode = std::fs::metadata(dir.path().join("ca.key"))?
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    Ok(())
}

#[tokio::test]
async fn each_name_has_a_certificate_that_the_authority_vouches_for() -> Result<()> {
    let test = TestBox::start().await?;
    for name in crate::names::NAMES {
        // The client verifies chain and name, or fails.
        test.get(name.host, "/").await?;
    }
    Ok(())
}

#[tokio::test]
async fn plain_http_leads_to_https() -> Result<()> {
    let test = TestBox::start().await?;
    let mut stream = TcpStream::connect(test.address("get.k3s.io")?.1).await?;
    let request = b"GET /?a=b HTTP/1.1\r\nHost: get.k3s.io\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    assert!(reply.starts_with("HTTP/1.1 302"), "{reply}");
    assert!(
        reply.contains("location: https://get.k3s.io/?a=b\r\n"),
        "{reply}"
    );
    Ok(())
}
