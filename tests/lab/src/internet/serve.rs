//! `internet serve`: binds every address, then answers until killed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;
use crate::content::{Asked, Content, percent_decoded};
use crate::faults::{Faults, Mode};
use crate::journal::Journal;
use crate::names::{self, NAMES, Name};
use crate::pump::{self, Pumped};
use crate::sites::Sites;
use crate::{addresses, dns};

/// How long a handshake, or the headers of a request, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where everything served comes from.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Faults (DIR/faults) and the access log (DIR/access.log).
    #[arg(long)]
    pub(crate) state: PathBuf,
    /// The lab's certificate authority.
    #[arg(long)]
    pub(crate) ca_dir: PathBuf,
    /// The static binaries: k3s is downloaded from here.
    #[arg(long)]
    pub(crate) bin_dir: PathBuf,
    /// The OCI layout made by `internet images`.
    #[arg(long)]
    pub(crate) images: PathBuf,
    /// The autoscaler's chart, unpacked.
    #[arg(long)]
    pub(crate) chart: PathBuf,
    /// The Slicer stand-in's binary.
    #[arg(long)]
    pub(crate) slicer: PathBuf,
    /// Archives (*.tar, OCI or docker) whose images are laid over the lab's.
    #[arg(long)]
    pub(crate) extra_images: Option<PathBuf>,
    /// Charts (*.tgz) that take the place of the lab's.
    #[arg(long)]
    pub(crate) extra_charts: Option<PathBuf>,
}

/// Where to listen: fixed in a fleet, loopback in tests.
pub(crate) struct Network {
    /// DNS addresses.
    pub(crate) dns: Vec<SocketAddr>,
    /// The address of the first name.
    pub(crate) first: Ipv4Addr,
    /// Ports; 0 takes any that is free.
    pub(crate) https: u16,
    pub(crate) http: u16,
}

/// A box that answers, and the addresses it was given.
pub(crate) struct Running {
    /// UDP and TCP addresses of DNS.
    pub(crate) dns: Vec<(SocketAddr, SocketAddr)>,
    /// HTTPS and HTTP addresses of each name.
    pub(crate) names: Vec<(SocketAddr, SocketAddr)>,
    tasks: JoinSet<Result<()>>,
}

struct Shared {
    sites: Sites,
    faults: Faults,
    journal: Journal,
}

/// Serves a fleet.
pub(crate) async fn run(options: Options) -> Result<()> {
    let public = [Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(1, 1, 1, 1)];
    let named = (0..NAMES.len()).map(|index| names::address(names::FIRST, index));
    addresses::add(public.into_iter().chain(named))?;
    let dns = public
        .into_iter()
        .chain([Ipv4Addr::new(192, 168, 1, 1)])
        .map(|address| SocketAddr::from((address, 53)))
        .collect();
    let network = Network {
        dns,
        first: names::FIRST,
        https: 443,
        http: 80,
    };
    let mut running = start(options, &network).await?;
    while let Some(ended) = running.tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Binds everything and begins to answer; dropping the result ends it.
pub(crate) async fn start(options: Options, network: &Network) -> Result<Running> {
    let faults = options.state.join("faults");
    tokio::fs::create_dir_all(&faults)
        .await
        .with_context(|| format!("cannot make {}", faults.display()))?;
    let authority = Authority::read(&options.ca_dir)?;
    let journal = Journal::open(&options.state.join("access.log"))?;
    let sites = tokio::task::spawn_blocking(move || Sites::load(&options)).await??;
    let shared = Arc::new(Shared {
        sites,
        faults: Faults::new(&faults),
        journal,
    });
    let mut running = Running {
        dns: Vec::new(),
        names: Vec::new(),
        tasks: JoinSet::new(),
    };
    for (index, name) in NAMES.iter().enumerate() {
        let address = names::address(network.first, index);
        let https = bind(address, network.https).await?;
        let http = bind(address, network.http).await?;
        running
            .names
            .push((https.local_addr()?, http.local_addr()?));
        let tls = TlsAcceptor::from(authority.server(name.host)?);
        running
            .tasks
            .spawn(accept(https, Some(tls), name, Arc::clone(&shared)));
        running
            .tasks
            .spawn(accept(http, None, name, Arc::clone(&shared)));
    }
    // DNS last: once a name resolves, its site answers.
    for address in &network.dns {
        let bound = dns::listen(*address, network.first, &mut running.tasks).await?;
        running.dns.push(bound);
    }
    Ok(running)
}

async fn bind(address: Ipv4Addr, port: u16) -> Result<TcpListener> {
    TcpListener::bind((address, port))
        .await
        .with_context(|| format!("cannot listen at {address}:{port}"))
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    name: &'static Name,
    shared: Arc<Shared>,
) -> Result<()> {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, say: others must end first.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            // What goes wrong on a connection is seen by its peer.
            let _ = converse(stream, peer.ip(), tls, name, shared).await;
        });
    }
}

async fn converse(
    stream: TcpStream,
    peer: IpAddr,
    tls: Option<TlsAcceptor>,
    name: &'static Name,
    shared: Arc<Shared>,
) -> Result<()> {
    if shared.faults.of(name) == Some(Mode::Unreachable) {
        shared
            .journal
            .entry(peer, "tcp", name.host, ("", ""), Some(Mode::Unreachable))
            .close(None, 0);
        // Dropping it now sends a reset instead of an orderly end.
        stream.set_zero_linger()?;
        return Ok(());
    }
    stream.set_nodelay(true)?;
    match tls {
        Some(tls) => {
            let stream = timeout(PATIENCE, tls.accept(stream)).await??;
            answer(stream, peer, "https", name, shared).await
        }
        None => answer(stream, peer, "http", name, shared).await,
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: IpAddr,
    scheme: &'static str,
    name: &'static Name,
    shared: Arc<Shared>,
) -> Result<()> {
    let service = service_fn(|request| one(request, peer, scheme, name, &shared));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn one(
    request: Request<Incoming>,
    peer: IpAddr,
    scheme: &'static str,
    name: &'static Name,
    shared: &Shared,
) -> io::Result<Response<Pumped>> {
    let fault = shared.faults.of(name);
    let path = percent_decoded(request.uri().path());
    let what = (request.method().as_str(), path.as_str());
    let entry = shared.journal.entry(peer, scheme, name.host, what, fault);
    if fault == Some(Mode::Unreachable) {
        // A connection kept alive from better times.
        entry.close(None, 0);
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let head = request.method() == Method::HEAD;
    let content = if !head && request.method() != Method::GET {
        Content::new("text/plain", "").status(StatusCode::METHOD_NOT_ALLOWED)
    } else if fault == Some(Mode::Error) {
        Content::new("text/plain", "Internal Server Error\n")
            .status(StatusCode::INTERNAL_SERVER_ERROR)
    } else if scheme == "http" {
        let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
        Content::redirect(format!("https://{}{target}", name.host))
    } else {
        let asked = Asked {
            path,
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
        };
        shared.sites.answer(name.site, &asked, fault)
    };
    Ok(pump::respond(content, request.headers(), head, entry).await)
}
