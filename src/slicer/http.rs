//! One HTTP/1 request over one stream, with a limit on its time and on the body's size.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Method, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::Slicer;
use crate::event::Asked;
use crate::failure::{Code, Failure, Result};
use crate::log;

/// Longest time for one request, connecting included.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// The same for what the daemon answers by itself, without a VM's agent: a run before a daemon that hangs asks more than once.
const OWN_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes of a body; lists of thousands of VMs fit.
pub(super) const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// A request to make.
pub(super) struct Request {
    method: Method,
    path: String,
    body: Option<String>,
    content_type: &'static str,
    token: bool,
}

impl Request {
    fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            body: None,
            content_type: "application/json",
            token: true,
        }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: &str) -> Self {
        Self::new(Method::POST, path)
    }

    pub(super) fn patch(path: &str) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(super) fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string());
        self
    }

    pub(super) fn octets(mut self, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self.content_type = "application/octet-stream";
        self
    }

    pub(super) fn without_token(mut self) -> Self {
        self.token = false;
        self
    }

    fn limit(&self) -> Duration {
        if self.method == Method::GET && !self.path.starts_with("/vm/") {
            OWN_LIMIT
        } else {
            LIMIT
        }
    }
}

/// A status and its body.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// What a request that got no answer ends with.
fn unanswered(slicer: &Slicer, cause: &str) -> Failure {
    let (address, port) = slicer.address;
    Failure::new(
        Code::SlicerApi,
        format!(
            "Slicer's API of {} does not answer on {} at {address}:{port}",
            slicer.group,
            slicer.host.name()
        ),
    )
    .because(cause)
    .hint(format!(
        "on {}: sudo journalctl -u slicer-{} -n 30",
        slicer.host.name(),
        slicer.group
    ))
}

/// Sends a request over a stream of its own.
pub(super) async fn send(slicer: &Slicer, request: &Request) -> Result<Reply> {
    let begin = Instant::now();
    let limit = request.limit();
    let reply = match tokio::time::timeout(limit, exchange(slicer, request)).await {
        Ok(reply) => reply.map_err(|broken| broken.failure(slicer)),
        Err(_) => Err(late(slicer, limit)),
    };
    let words = format!("{} {}", request.method, request.path);
    let end = reply.as_ref().map(|reply| i32::from(reply.status));
    let end = end.map_err(Clone::clone);
    log::asked(
        slicer.host.name(),
        Asked::Request,
        &words,
        begin.elapsed(),
        &end,
    );
    reply
}

/// A request that got no answer.
pub(super) enum Broken {
    Stream(Failure),
    Http(String),
}

impl Broken {
    /// As it is told.
    pub(super) fn failure(self, slicer: &Slicer) -> Failure {
        match self {
            // What waiting cannot cure (tunnels forbidden, host key changed) keeps its own words.
            Self::Stream(failure) if failure.is_permanent() => failure,
            Self::Stream(failure) => unanswered(slicer, &failure.to_string()),
            Self::Http(cause) => unanswered(slicer, &cause),
        }
    }
}

/// A request that took too long.
pub(super) fn late(slicer: &Slicer, limit: Duration) -> Failure {
    unanswered(slicer, &format!("no answer after {} s", limit.as_secs()))
}

async fn exchange(slicer: &Slicer, request: &Request) -> Result<Reply, Broken> {
    let body = Full::new(Bytes::from(request.body.clone().unwrap_or_default()));
    let answer = open(slicer, request, body).await?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), BODY_LIMIT)
        .collect()
        .await
        .map_err(|error| Broken::Http(error.to_string()))?
        .to_bytes()
        .to_vec();
    Ok(Reply { status, body })
}

/// Sends a request's head and this body over a stream of its own; the answer as it begins. The stream ends with it.
pub(super) async fn open<B>(
    slicer: &Slicer,
    request: &Request,
    body: B,
) -> Result<hyper::Response<Incoming>, Broken>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let http = |error: &dyn std::fmt::Display| Broken::Http(error.to_string());
    let (address, port) = slicer.address;
    let stream = slicer
        .host
        .forward(&address.to_string(), port)
        .await
        .map_err(Broken::Stream)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| http(&error))?;
    // Ends with the stream, which ends when the answer's body is dropped.
    tokio::spawn(connection);
    let mut outgoing = hyper::Request::builder()
        .method(request.method.clone())
        .uri(&request.path)
        .header(header::HOST, format!("{address}:{port}"))
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close");
    if request.token {
        let bearer = format!("Bearer {}", slicer.token.expose());
        outgoing = outgoing.header(header::AUTHORIZATION, bearer);
    }
    if request.body.is_some() {
        outgoing = outgoing.header(header::CONTENT_TYPE, request.content_type);
    }
    let outgoing = outgoing.body(body).map_err(|error| http(&error))?;
    sender
        .send_request(outgoing)
        .await
        .map_err(|error| http(&error))
}
