//! A proxy before a machine's SSH server that is late, or cuts connections off.
//! The kernels the lab runs on lack `tc netem`, so delay is made here.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Result;

/// What the proxy does to connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Treatment {
    /// Each piece is passed on so much later.
    pub(crate) delay: Duration,
    /// The connection is reset after this.
    pub(crate) reset_after: Option<Duration>,
}

/// Takes connections and passes them to `target`, until killed.
pub(crate) fn serve(listener: &TcpListener, target: (Ipv4Addr, u16), how: Treatment) -> Result<()> {
    loop {
        let (client, _) = listener.accept()?;
        // A server that refuses shows as a closed connection, as with any proxy.
        let Ok(server) = TcpStream::connect(target) else {
            continue;
        };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            std::thread::spawn(move || pass(from, to, how.delay));
        }
        if let Some(after) = how.reset_after {
            std::thread::spawn(move || {
                std::thread::sleep(after);
                reset(&client);
                reset(&server);
            });
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut piece = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        std::thread::sleep(delay);
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    // The other direction ends by itself.
    let _ = to.shutdown(Shutdown::Write);
}

/// Disconnecting the socket sends a reset at once, however many clones are open.
fn reset(stream: &TcpStream) {
    // Closed meanwhile is as good.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _ = rustix::net::connect_unspec(stream);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(how: Treatment) -> TcpStream {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = server.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut byte = [0];
            while let Ok(1) = stream.read(&mut byte) {
                stream.write_all(&byte).unwrap();
            }
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, (Ipv4Addr::LOCALHOST, target), how));
        TcpStream::connect(address).unwrap()
    }

    /// The client must see a reset in the middle, not an orderly end.
    #[test]
    fn connections_are_reset_in_the_middle() {
        let how = Treatment {
            delay: Duration::ZERO,
            reset_after: Some(Duration::from_millis(100)),
        };
        let mut stream = proxied(how);
        stream.write_all(b"a").unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"a");
        let error = stream.read(&mut byte).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    /// Late in both directions, but whole.
    #[test]
    fn bytes_are_late_but_arrive() {
        let start = std::time::Instant::now();
        let how = Treatment {
            delay: Duration::from_millis(60),
            reset_after: None,
        };
        let mut stream = proxied(how);
        stream.write_all(b"b").unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(120));
    }
}
