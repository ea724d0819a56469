//! Ports of a machine, reachable from this workstation for as long as a guard lives.
//!
//! Whatever speaks plain HTTP or carries its own secret goes through a UNIX socket in a private directory, so that no
//! other user of the workstation can reach it. kubectl cannot use one: its `server` is a URL, and `proxy-url` knows
//! only http, https and socks5 over TCP. For it there is a loopback port, and that is no door for others: at the far
//! end stands the Kubernetes API, which proves itself by the cluster's CA and lets nobody do anything without a client
//! certificate or token, exactly as it stands in the LAN of the VMs. It is reached there by the server's address: who comes
//! from the server's own loopback needs neither for some of what k3s answers (k3s@af977adf pkg/server/auth/auth.go,
//! `IsLocalOrHasRole`). The port is chosen by the kernel, bound to
//! 127.0.0.1 and gone with the command.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Machine, Stream};
use crate::failure::{Code, Failure, Result};

/// Connections at once through one tunnel; more wait.
const WIDTH: usize = 64;

/// A listening end; dropping it closes it and what runs through it.
pub struct Loopback {
    address: SocketAddr,
    _task: Task,
}

impl Loopback {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A listening UNIX socket in a directory that only we can enter.
pub struct Socket {
    path: PathBuf,
    _task: Task,
    _directory: tempfile::TempDir,
}

impl Socket {
    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `host:port`, as `machine` sees it, on a loopback port: only for TLS servers that demand client certificates.
pub async fn loopback(machine: &Arc<Machine>, host: &str, port: u16) -> Result<Loopback> {
    // Tried once, so that a tunnel that cannot work says why, instead of hanging up on the program that uses it.
    drop(machine.forward(host, port).await?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(unopened)?;
    let address = listener.local_addr().map_err(unopened)?;
    let task = serve(machine, host, port, Near::Tcp(listener));
    Ok(Loopback {
        address,
        _task: task,
    })
}

/// `host:port`, as `machine` sees it, as a UNIX socket that only this user can reach.
pub async fn socket(machine: &Arc<Machine>, host: &str, port: u16) -> Result<Socket> {
    drop(machine.forward(host, port).await?);
    // Nobody else can even look up the socket in it.
    let directory = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir()
        .map_err(unopened)?;
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).map_err(unopened)?;
    let only_us = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs_err::set_permissions(&path, only_us).map_err(unopened)?;
    let task = serve(machine, host, port, Near::Unix(listener));
    Ok(Socket {
        path,
        _task: task,
        _directory: directory,
    })
}

fn unopened(error: std::io::Error) -> Failure {
    Failure::new(
        Code::LocalFile,
        "cannot open a tunnel's end on this workstation",
    )
    .because(error)
}

/// The near end.
enum Near {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Near {
    async fn accept(&self) -> std::io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Small requests and answers; a failure costs only time.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

fn serve(machine: &Arc<Machine>, host: &str, port: u16, near: Near) -> Task {
    let (machine, host) = (Arc::clone(machine), host.to_owned());
    Task(tokio::spawn(async move {
        let width = Arc::new(Semaphore::new(WIDTH));
        let mut running = tokio::task::JoinSet::new();
        while let Ok(place) = Arc::clone(&width).acquire_owned().await {
            let Ok(mut near) = near.accept().await else {
                // Out of file descriptors, most likely: connections that end give some back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (machine, host) = (Arc::clone(&machine), host.clone());
            running.spawn(async move {
                let _place = place;
                // A failure closes the near end; the program that uses it reports that.
                if let Ok(mut far) = machine.forward(&host, port).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
            while running.try_join_next().is_some() {}
        }
    }))
}
