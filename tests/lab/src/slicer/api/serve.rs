//! Connections: accepted by hand, so that a fault can refuse one, and every request asked for its token.
//!
//! A client that closes its side has gone, as for Go's server: what is being done for it ends, its commands too.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, header},
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::sleep,
};

use super::{App, failure, failure::Failure, routes, unread};
use crate::daemon::up::Listener;

/// Serves until told to stop; open connections are then cut.
pub(crate) async fn run(listener: Listener, app: App, mut stopped: oneshot::Receiver<()>) {
    let router = routes(app.clone());
    let door = Arc::new(Door { app, router });
    let mut connections = tokio::task::JoinSet::new();
    loop {
        // Finished connections are forgotten, or the set would only grow.
        while connections.try_join_next().is_some() {}
        tokio::select! {
            _ = &mut stopped => break,
            accepted = accept(&listener) => match accepted {
                Ok(stream) => { connections.spawn(Arc::clone(&door).connection(stream)); }
                // Out of descriptors, most likely: give others time to close theirs.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(listener: &Listener) -> std::io::Result<Box<dyn Stream>> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Listener::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        Listener::None => std::future::pending().await,
    }
}

struct Door {
    app: App,
    router: Router,
}

impl Door {
    async fn connection(self: Arc<Self>, stream: Box<dyn Stream>) {
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let door = Arc::clone(&self);
            Box::pin(async move { door.exchange(request).await })
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .without_shutdown()
            .await;
        // An error here is a client that went away, or a fault that refused it.
        if let Ok(parts) = served {
            unread::close(parts.io.into_inner()).await;
        }
    }

    async fn exchange(&self, request: hyper::Request<Incoming>) -> Result<Response> {
        let expects = request.headers().contains_key(header::EXPECT);
        let (head, body) = request.into_parts();
        let body = unread::Kept::new(body);
        let request = Request::from_parts(head, Body::new(body.clone()));
        let mut response = failure::as_json(self.request(request).await?).await;
        body.finish(&mut response, expects).await;
        Ok(response)
    }

    /// Faults first, then the token, then the route; an error cuts the connection without an answer.
    async fn request(&self, request: Request) -> Result<Response> {
        let path = request.uri().path();
        let fault = self.app.fleet.faults.api(self.app.fleet.group_names());
        if let Some(fault) = fault.filter(|fault| {
            fault
                .path
                .as_deref()
                .is_none_or(|start| path.starts_with(start))
        }) {
            match fault.mode.as_str() {
                "refuse" => bail!("refused by a fault"),
                "401" => return Ok(unauthorized()),
                "500" => {
                    return Ok(Failure::new(500, "internal error made by a fault").into_response());
                }
                "hang" => std::future::pending().await,
                "slow" => sleep(Duration::from_millis(fault.ms)).await,
                _ => {}
            }
        }
        let open = path == "/healthz" && matches!(*request.method(), Method::GET | Method::HEAD);
        if !open && !self.allowed(&request) {
            return Ok(unauthorized());
        }
        match tower_call(self.router.clone(), request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }

    fn allowed(&self, request: &Request) -> bool {
        let Some(token) = &self.app.token else {
            return true;
        };
        let Some(header) = request.headers().get("authorization") else {
            return false;
        };
        header
            .as_bytes()
            .strip_prefix(b"Bearer ")
            .is_some_and(|given| same(given, token.as_bytes()))
    }
}

fn unauthorized() -> Response {
    Failure::new(401, "unauthorized").into_response()
}

/// Compares without telling by its time how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

async fn tower_call(
    router: Router,
    request: Request,
) -> Result<Response, std::convert::Infallible> {
    use hyper_util::service::TowerToHyperService;
    hyper::service::Service::call(&TowerToHyperService::new(router), request).await
}
