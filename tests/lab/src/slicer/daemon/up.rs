//! `slicer up`: the daemon from its first line to its last.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{
    banner,
    fleet::Fleet,
    seat::Seat,
    settings::{Listen, Settings},
    token,
};
use crate::{
    api::{self, serve},
    host::{Places, licence::Licence, profile, variant::Variant},
    machine::nspawn::Nspawn,
    say,
};

/// Runs the daemon until a signal ends it.
pub(crate) async fn run(file: &Path, licence_file: Option<&Path>) -> Result<()> {
    let places = Places::standard();
    let variant = Variant::read(&places.lab)?;
    for choice in variant.unknown() {
        say::complain(format!("Warning: unknown variant {choice}"));
    }
    let licence = Licence::find(licence_file)?;
    let settings = Settings::read(file)?;
    let _seat = Seat::take(&places, &licence, &variant)?;
    say::line(banner::licence(&licence));
    // The ports first: whoever loses the race for one must not touch the other's VMs.
    let listener = Listener::bind(settings.listen.as_ref()).await?;
    let console = match &settings.console {
        Some((address, port)) => Some(
            TcpListener::bind((address.as_str(), *port))
                .await
                .with_context(|| format!("SSH bridge: listen on {address}:{port}"))?,
        ),
        None => None,
    };
    let token = match (&settings.token, settings.auth) {
        (_, false) => None,
        (Some(token), true) => Some(token.clone()),
        (None, true) => Some(token::obtain(&places, &variant)?),
    };
    let arch = profile::arch(&places.profile);
    let machines = Arc::new(Nspawn::new(places.clone(), variant.clone())?);
    let fleet = Arc::new(Fleet::new(settings, places, variant, arch, machines)?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    start(&fleet).await?;
    if let (Some(_), Some((address, port))) = (&console, &fleet.settings.console) {
        say::line(format!("SSH bridge listening on {address}:{port}"));
    }
    for line in banner::api(&fleet.settings, &fleet.places) {
        say::line(line);
    }
    say::line("Starting VM health monitor");
    let (stop, stopped) = oneshot::channel();
    let app = api::App::new(Arc::clone(&fleet), token);
    let server = tokio::spawn(serve::run(listener, app.clone(), stopped));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = app.stop_asked() => {}
    }
    say::line("Stopping");
    let _ = stop.send(());
    let outcome = fleet.stop().await;
    let _ = server.await;
    if let Some(Listen::Socket(path)) = &fleet.settings.listen {
        let _ = std::fs::remove_file(path);
    }
    outcome
}

async fn start(fleet: &Arc<Fleet>) -> Result<()> {
    for group in &fleet.settings.groups {
        say::line(banner::pool(group));
    }
    say::line("\nAdd a route to VMs:\n");
    say::line(banner::routes(
        &fleet.settings,
        &crate::cli::route::lan_address(),
        None,
    ));
    say::line("");
    fleet.start().await?;
    for node in fleet.nodes(None) {
        say::line(banner::launching(&node.record));
    }
    Ok(())
}

/// What the API listens on.
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A UNIX socket.
    Unix(UnixListener),
    /// The API is switched off.
    None,
}

impl Listener {
    async fn bind(listen: Option<&Listen>) -> Result<Self> {
        match listen {
            None => Ok(Self::None),
            Some(Listen::Tcp(address, port)) => TcpListener::bind((address.as_str(), *port))
                .await
                .map(Self::Tcp)
                .with_context(|| format!("API server: listen tcp {address}:{port}")),
            Some(Listen::Socket(path)) => {
                use std::os::unix::fs::PermissionsExt;
                // A socket that nobody answers on was left by a killed daemon.
                if tokio::net::UnixStream::connect(path).await.is_err() {
                    let _ = std::fs::remove_file(path);
                }
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("API server: listen unix {}", path.display()))?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self::Unix(listener))
            }
        }
    }
}
