//! HTTP to a daemon, over TCP or a UNIX socket.

use std::{
    convert::Infallible,
    path::PathBuf,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use anyhow::{Context, Result, bail};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Method, Request, Response,
    body::{Frame, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::mpsc,
};

/// Where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A host and a port.
    Tcp(String),
    /// A UNIX socket.
    Socket(PathBuf),
}

/// A client of one daemon.
pub(crate) struct Client {
    place: Place,
    base: String,
    token: Option<String>,
}

/// A request's body.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A body of these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body that is fed while it is sent.
pub(crate) fn fed() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(8);
    (sender, Fed(receiver).boxed())
}

struct Fed(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Client {
    /// A client; `base` is the path that the URL had.
    pub(crate) fn new(place: Place, base: String, token: Option<String>) -> Self {
        Self { place, base, token }
    }

    /// Sends a request to exactly this path, and gives any answer below 400.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>> {
        let response = self.ask(method, path, body).await?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            let bytes = response.into_body().collect().await?.to_bytes();
            let text = serde_json::from_slice::<Value>(&bytes)
                .ok()
                .and_then(|value| value["error"].as_str().map(str::to_owned))
                .unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
            bail!("{status}: {text}");
        }
        Ok(response)
    }

    /// Sends a request to a path joined onto the URL's own, as the original's client does for some calls.
    pub(crate) async fn send_joined(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>> {
        self.send(method, &format!("{}{path}", self.base), body)
            .await
    }

    /// The JSON at exactly this path.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        json(self.send(Method::GET, path, full("")).await?).await
    }

    /// The JSON at a path joined onto the URL's own.
    pub(crate) async fn get_joined(&self, path: &str) -> Result<Value> {
        json(self.send_joined(Method::GET, path, full("")).await?).await
    }

    /// Sends a request to exactly this path, and gives any answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("user-agent", "slicer-stand-in");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.exchange(request.body(body)?).await
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        match &self.place {
            Place::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await.with_context(|| {
                    format!("failed to connect to http://{authority}: is the daemon running?")
                })?;
                talk(TokioIo::new(stream), request).await
            }
            Place::Socket(path) => {
                let stream = UnixStream::connect(path)
                    .await
                    .with_context(|| format!("failed to connect to {}", path.display()))?;
                talk(TokioIo::new(stream), request).await
            }
        }
    }
}

async fn talk<S>(stream: S, request: Request<Body>) -> Result<Response<Incoming>>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .context("the daemon cut the connection")
}

/// The JSON of an answer.
pub(crate) async fn json(response: Response<Incoming>) -> Result<Value> {
    let bytes = response.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&bytes).context("the daemon's answer is not JSON")
}

/// A query string of these pairs.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={}", escape(&value)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

/// Percent-encodes all but the unreserved characters.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}
