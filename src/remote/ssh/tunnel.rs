//! Streams through an SSH server to ports that it can reach.

use russh::ChannelOpenFailure;

use super::client::{Client, words};
use super::connection::TIMEOUT;
use crate::failure::{Code, Failure, Result};
use crate::remote::Stream;

/// A stream through the SSH server that messages call `name`, to a port it can reach.
pub(super) async fn tunnel(
    client: &Client,
    name: &str,
    host: &str,
    port: u16,
) -> Result<Box<dyn Stream>> {
    let opening = client.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0);
    let what = format!("{host}:{port} cannot be reached through {name}");
    let unreachable = Failure::new(Code::SshUnreachable, what);
    match tokio::time::timeout(TIMEOUT, opening).await {
        Ok(Ok(channel)) => Ok(Box::new(channel.into_stream())),
        Ok(Err(russh::Error::ChannelOpenFailure(why))) => Err(match why {
            ChannelOpenFailure::AdministrativelyProhibited => {
                Failure::new(Code::SshForward, format!("{name}'s SSH server forbids tunnels"))
                    .because(format!("asked for one to {host}:{port}, it says: administratively prohibited"))
                    .hint("in its /etc/ssh/sshd_config: AllowTcpForwarding yes (and no PermitOpen), then reload ssh")
            }
            ChannelOpenFailure::ConnectFailed => unreachable.because("nothing answers there"),
            other => unreachable.because(format!("{other:?}")),
        }),
        Ok(Err(error)) => Err(Failure::new(
            Code::SshLost,
            format!("the connection to {name} was lost"),
        )
        .because(words(&error))),
        Err(_) => Err(unreachable.because(format!("no answer within {} s", TIMEOUT.as_secs()))),
    }
}
