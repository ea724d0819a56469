//! A response body that is fed while the client reads it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// The writing end: fails once the client has gone.
pub(crate) type Feeder = mpsc::Sender<Bytes>;

struct Feed(mpsc::Receiver<Bytes>);

/// A body, and the end that feeds it.
pub(crate) fn feed() -> (Feeder, Body) {
    let (sender, receiver) = mpsc::channel(32);
    (sender, Body::new(Feed(receiver)))
}

impl hyper::body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
