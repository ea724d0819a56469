//! What is left of a request's body when the answer is there.
//!
//! A connection that is closed while bytes of a request wait on it is reset, and a reset may take the answer with it.
//! Go's server, which the original is built on, therefore reads up to 256 KiB of what is left, and where there is
//! more, says `Connection: close` and closes its side first (net/http: server.go, `maxPostHandlerReadBytes` and
//! `closeWriteAndWait`). Its clients rely on that.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderValue, header::CONNECTION},
    response::Response,
};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// The most that is read after the answer, in bytes.
const LIMIT: u64 = 256 << 10;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client has to take an answer and close its side.
const LINGER: Duration = Duration::from_millis(500);

/// A request's body that the server keeps a hand on.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Mutex<Incoming>>);

impl Kept {
    /// A body as it comes in.
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Reads the rest, or has the answer say that the connection ends. A body that someone still reads is left alone.
    pub(crate) async fn finish(self, response: &mut Response, expects: bool) {
        let Ok(body) = Arc::try_unwrap(self.0) else {
            return;
        };
        let body = body.into_inner().unwrap_or_else(PoisonError::into_inner);
        if body.is_end_stream() {
            return;
        }
        // A client that waits for leave to send is not given it for what no one reads.
        let rest = async { !expects && read_out(body).await };
        if !timeout(PATIENCE, rest).await.unwrap_or(false) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
    }
}

/// Whether the body ended within the limit.
async fn read_out(mut body: Incoming) -> bool {
    if body.size_hint().lower() > LIMIT {
        return false;
    }
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
        if read > LIMIT {
            return false;
        }
    }
    true
}

impl Body for Kept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.size_hint()
    }
}

/// Closes a connection that is over: the sending side first, the rest once the client has closed or its time is up.
pub(crate) async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut buffer = vec![0_u8; 16 << 10];
    let rest = async { while let Ok(1..) = stream.read(&mut buffer).await {} };
    let _ = timeout(LINGER, rest).await;
}
