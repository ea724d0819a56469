//! access.log: one JSON line a request, written when its answer is out.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::faults::Mode;

/// The log, shared by all connections.
#[derive(Clone)]
pub(crate) struct Journal(Arc<Mutex<File>>);

/// A request under way.
pub(crate) struct Entry {
    journal: Journal,
    began: Instant,
    /// Who asked.
    pub(crate) peer: IpAddr,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The name that was asked.
    pub(crate) name: &'static str,
    /// The request's method.
    pub(crate) method: String,
    /// The request's path, without its query.
    pub(crate) path: String,
    /// The fault that struck.
    pub(crate) fault: Option<Mode>,
}

impl Journal {
    /// Appends to the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// Notes that a request came in.
    pub(crate) fn entry(
        &self,
        peer: IpAddr,
        scheme: &'static str,
        name: &'static str,
        (method, path): (&str, &str),
        fault: Option<Mode>,
    ) -> Entry {
        Entry {
            journal: self.clone(),
            began: Instant::now(),
            peer,
            scheme,
            name,
            method: method.to_owned(),
            path: path.to_owned(),
            fault,
        }
    }
}

impl Entry {
    /// Writes the line; `status` is `None` when the connection was cut without an answer.
    pub(crate) fn close(self, status: Option<u16>, bytes: u64) {
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let line = json!({
            "time_ms": u64::try_from(time.as_millis()).unwrap_or_default(),
            "peer": self.peer.to_string(),
            "scheme": self.scheme,
            "name": self.name,
            "method": self.method,
            "path": self.path,
            "status": status,
            "bytes": bytes,
            "took_ms": u64::try_from(self.began.elapsed().as_millis()).unwrap_or_default(),
            "fault": self.fault.map(|mode| format!("{mode:?}").to_lowercase()),
        });
        let mut file = self
            .journal
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A full disk must not take the box down.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}
