//! What was asked, and what a site answers.

use std::fs;
use std::path::PathBuf;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};

/// A request, as far as sites care.
pub(crate) struct Asked {
    /// The path, percent-decoded.
    pub(crate) path: String,
    /// The query as sent.
    pub(crate) query: String,
    /// The headers.
    pub(crate) headers: HeaderMap,
}

/// The bytes of an answer.
pub(crate) enum Body {
    /// Held in memory.
    Bytes(Bytes),
    /// Read while it is sent: a file of this length.
    File(PathBuf, u64),
}

/// An answer.
pub(crate) struct Content {
    /// The status.
    pub(crate) status: StatusCode,
    /// Headers beside those about length and ranges.
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// The body.
    pub(crate) body: Body,
}

impl Content {
    /// Some bytes of a type.
    pub(crate) fn new(kind: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: vec![(CONTENT_TYPE, kind.to_owned())],
            body: Body::Bytes(body.into()),
        }
    }

    /// A file of a type; not found where there is none.
    pub(crate) fn file(kind: &str, path: PathBuf) -> Self {
        match fs::metadata(&path) {
            Ok(about) if about.is_file() => Self {
                body: Body::File(path, about.len()),
                ..Self::new(kind, "")
            },
            _ => Self::not_found(),
        }
    }

    /// The answer for paths that nothing is at.
    pub(crate) fn not_found() -> Self {
        Self::new("text/plain", "Not Found\n").status(StatusCode::NOT_FOUND)
    }

    /// A redirect.
    pub(crate) fn redirect(location: String) -> Self {
        Self::new("text/plain", "")
            .status(StatusCode::FOUND)
            .header(LOCATION, location)
    }

    /// The same with another status.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// How many bytes the body has.
    pub(crate) fn length(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, length) => *length,
        }
    }

    /// Whether a checksum somewhere covers this body: what `badsum` spoils. Texts stay right, or
    /// a spoilt checksum file would only look like a missing line.
    pub(crate) fn is_download(&self) -> bool {
        self.status == StatusCode::OK
            && self.headers.iter().any(|(name, value)| {
                *name == CONTENT_TYPE
                    && (value == "application/octet-stream" || value == "application/gzip")
            })
    }
}

/// Decodes `%2B` and the like; what is malformed stays as it is.
pub(crate) fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = path
            .get(at + 1..at + 3)
            .filter(|_| byte == b'%')
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        decoded.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
