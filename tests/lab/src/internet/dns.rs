//! DNS: an address for each name, NXDOMAIN for the rest of the world.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::names;

/// Short, so that a machine never outlives a change of the lab by its cache.
const TTL: u32 = 60;
/// How long a TCP client may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers on UDP and TCP at `address`; returns the addresses really bound.
pub(crate) async fn listen(
    address: SocketAddr,
    first: Ipv4Addr,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<(SocketAddr, SocketAddr)> {
    let udp = UdpSocket::bind(address)
        .await
        .with_context(|| format!("cannot answer DNS at {address} (UDP)"))?;
    let tcp = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot answer DNS at {address} (TCP)"))?;
    let bound = (udp.local_addr()?, tcp.local_addr()?);
    tasks.spawn(async move {
        let udp = Arc::new(udp);
        let mut packet = [0; 4096];
        loop {
            let Ok((length, peer)) = udp.recv_from(&mut packet).await else {
                continue; // an earlier reply's ICMP error surfaces here
            };
            if let Some(reply) = reply(&packet[..length], first) {
                let _ = udp.send_to(&reply, peer).await;
            }
        }
    });
    tasks.spawn(async move {
        loop {
            let (stream, _) = tcp.accept().await?;
            tokio::spawn(async move {
                // A client that breaks off is its own affair.
                let _ = converse(stream, first).await;
            });
        }
    });
    Ok(bound)
}

async fn converse(mut stream: TcpStream, first: Ipv4Addr) -> Result<()> {
    loop {
        let length = timeout(PATIENCE, stream.read_u16()).await??;
        let mut packet = vec![0; length.into()];
        timeout(PATIENCE, stream.read_exact(&mut packet)).await??;
        let Some(reply) = reply(&packet, first) else {
            return Ok(());
        };
        stream.write_u16(u16::try_from(reply.len())?).await?;
        stream.write_all(&reply).await?;
    }
}

/// The reply to a packet; `None` for what is no question.
fn reply(packet: &[u8], first: Ipv4Addr) -> Option<Vec<u8>> {
    let asked = Message::from_vec(packet).ok()?;
    if asked.message_type() != MessageType::Query {
        return None;
    }
    let mut reply = Message::new();
    reply
        .set_id(asked.id())
        .set_message_type(MessageType::Response)
        .set_op_code(asked.op_code())
        .set_recursion_desired(asked.recursion_desired())
        .set_recursion_available(true)
        .add_queries(asked.queries().iter().cloned());
    if asked.extensions().is_some() {
        reply.set_edns(Edns::new());
    }
    let code = match asked.query() {
        _ if asked.op_code() != OpCode::Query => ResponseCode::NotImp,
        None => ResponseCode::FormErr,
        Some(query) => match names::find(&query.name().to_ascii()) {
            None => ResponseCode::NXDomain,
            // Other types of a name that exists: no error, no answer.
            Some(index) => {
                let wanted = matches!(query.query_type(), RecordType::A | RecordType::ANY);
                if wanted && query.query_class() == DNSClass::IN {
                    let data = RData::A(A(names::address(first, index)));
                    reply.add_answer(Record::from_rdata(query.name().clone(), TTL, data));
                }
                ResponseCode::NoError
            }
        },
    };
    reply.set_response_code(code);
    reply.to_vec().ok()
}
