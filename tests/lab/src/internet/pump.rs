//! Sends an answer through a channel, so that a fault can cut, spoil or slow it on its way.

use std::io::{self, SeekFrom};
use std::ops::Range;
use std::time::Duration;

use http_body_util::Channel;
use http_body_util::channel::Sender;
use hyper::body::Bytes;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use hyper::{Response, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::sleep;

use crate::content::{Body, Content};
use crate::faults::Mode;
use crate::journal::Entry;

/// The body type of every answer.
pub(crate) type Pumped = Channel<Bytes, io::Error>;

const CHUNK: u64 = 1 << 18;
/// `slow`: how late the first byte is, and the pause after each piece of [`SLOW_CHUNK`]: 256 KiB/s.
const SLOW_START: Duration = Duration::from_secs(2);
const SLOW_PAUSE: Duration = Duration::from_millis(250);
const SLOW_CHUNK: u64 = 1 << 16;
/// `truncate`: how long the connection outlives the half that is sent.
const CUT_PAUSE: Duration = Duration::from_millis(200);

/// Turns an answer into a response; its body is sent by a task of its own, which closes `entry`.
pub(crate) async fn respond(
    content: Content,
    headers: &HeaderMap,
    head: bool,
    entry: Entry,
) -> Response<Pumped> {
    if entry.fault == Some(Mode::Slow) {
        sleep(SLOW_START).await;
    }
    let length = content.length();
    let (status, range) = match (content.status, headers.get(RANGE)) {
        (StatusCode::OK, Some(wanted)) => match part(wanted, length) {
            Some(range) => (StatusCode::PARTIAL_CONTENT, range),
            None => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        },
        (status, _) => (status, 0..length),
    };
    let (sender, channel) = Channel::new(2);
    let mut response = Response::new(channel);
    *response.status_mut() = status;
    let fields = response.headers_mut();
    for (name, value) in &content.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    }
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    let described = match status {
        StatusCode::PARTIAL_CONTENT => {
            Some(format!("bytes {}-{}/{length}", range.start, range.end - 1))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{length}")),
        _ => None,
    };
    if let Some(value) = described.and_then(|text| HeaderValue::from_str(&text).ok()) {
        fields.insert(CONTENT_RANGE, value);
    }
    if head {
        entry.close(Some(status.as_u16()), 0);
    } else {
        tokio::spawn(send(content, range, sender, status, entry));
    }
    response
}

async fn send(
    content: Content,
    range: Range<u64>,
    sender: Sender<Bytes, io::Error>,
    status: StatusCode,
    entry: Entry,
) {
    let mut pump = Pump {
        fault: entry.fault,
        // The middle of the whole, so that a resumed download is no better than a fresh one.
        spoil: (entry.fault == Some(Mode::BadSum) && content.is_download())
            .then(|| content.length() / 2),
        stop: if entry.fault == Some(Mode::Truncate) {
            range.start + (range.end - range.start) / 2
        } else {
            range.end
        },
        at: range.start,
        sender,
    };
    let result = pump.run(content.body).await;
    entry.close(Some(status.as_u16()), pump.at - range.start);
    match result {
        Ok(()) if pump.stop == range.end => {}
        // An error makes the server drop the connection, with whatever it has not written yet:
        // the pause lets the half get out first.
        Ok(()) => {
            sleep(CUT_PAUSE).await;
            pump.sender.abort(io::ErrorKind::ConnectionAborted.into());
        }
        Err(error) => pump.sender.abort(error),
    }
}

struct Pump {
    fault: Option<Mode>,
    spoil: Option<u64>,
    stop: u64,
    at: u64,
    sender: Sender<Bytes, io::Error>,
}

impl Pump {
    async fn run(&mut self, body: Body) -> io::Result<()> {
        let mut file = match &body {
            Body::Bytes(_) => None,
            Body::File(path, _) => {
                let mut file = File::open(path).await?;
                file.seek(SeekFrom::Start(self.at)).await?;
                Some(file)
            }
        };
        let slow = self.fault == Some(Mode::Slow);
        while self.at < self.stop {
            let limit = if slow { SLOW_CHUNK } else { CHUNK };
            let size = usize::try_from(limit.min(self.stop - self.at)).unwrap_or_default();
            let mut piece = vec![0; size];
            match (&body, &mut file) {
                (Body::Bytes(bytes), _) => {
                    let from = usize::try_from(self.at).unwrap_or_default();
                    piece.copy_from_slice(&bytes[from..from + size]);
                }
                (Body::File(..), Some(file)) => {
                    file.read_exact(&mut piece).await?;
                }
                (Body::File(..), None) => return Err(io::ErrorKind::NotFound.into()),
            }
            let spoilt = self
                .spoil
                .and_then(|at| at.checked_sub(self.at))
                .and_then(|at| usize::try_from(at).ok())
                .and_then(|at| piece.get_mut(at));
            if let Some(byte) = spoilt {
                *byte ^= 0xff;
            }
            self.at += size as u64;
            if self.sender.send_data(piece.into()).await.is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if slow {
                sleep(SLOW_PAUSE).await;
            }
        }
        Ok(())
    }
}

/// The one range that a header asks for; `None` when it cannot be had.
fn part(header: &HeaderValue, length: u64) -> Option<Range<u64>> {
    let (from, to) = header
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let range = match (from, to) {
        ("", last) => length.saturating_sub(last.parse().ok()?)..length,
        (from, "") => from.parse().ok()?..length,
        (from, to) => from.parse().ok()?..to.parse::<u64>().ok()?.saturating_add(1).min(length),
    };
    (range.start < range.end).then_some(range)
}
