//! An API server for tests: it answers in pages, knows selectors and lists of metadata, forgets what a list was a picture of,
//! and what it answers is cut where an output would be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Kubernetes;
use crate::failure::Result;
use crate::remote::{Input, Kept, Machine, Output, Remote, Stream, Sudo};

/// What no message may hold.
pub(crate) const SECRET: &str = "s3cr3t-of-a-pod";

/// A cluster of so many objects.
#[derive(Clone, Default)]
pub(crate) struct Api(Arc<Inner>);

#[derive(Default)]
struct Inner {
    nodes: Vec<Value>,
    pods: Vec<Value>,
    /// Bytes of a whole object.
    size: usize,
    /// How many questions that go on with a list are refused.
    expiring: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
}

/// A question, and how many bytes it was answered with.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) url: String,
    pub(crate) bytes: usize,
}

impl Api {
    /// So many Nodes of a group of agents, the first `drained` of them closed, and so many pods side by side on them. Each
    /// object has `size` bytes.
    pub(crate) fn new(group: &str, nodes: usize, drained: usize, pods: usize, size: usize) -> Self {
        let node = |n: usize| {
            json!({
                "metadata": {"name": format!("n-{n}"), "labels": {"slicer/hostgroup": group}},
                "spec": {"unschedulable": n < drained},
            })
        };
        let pod = |n: usize| {
            json!({
                "metadata": {"name": format!("p-{n}"), "namespace": "default"},
                "spec": {"nodeName": format!("n-{}", n % nodes.max(1))},
                "status": {"phase": "Running"},
            })
        };
        Self(Arc::new(Inner {
            nodes: (0..nodes).map(node).collect(),
            pods: (0..pods).map(pod).collect(),
            size,
            ..Inner::default()
        }))
    }

    /// So many questions that go on with a list come too late.
    pub(crate) fn expiring(self, times: usize) -> Self {
        self.0.expiring.store(times, Ordering::Relaxed);
        self
    }

    pub(crate) fn machine(&self, name: &str) -> Arc<Machine> {
        Arc::new(Machine::new(name, Box::new(self.clone()), Sudo::Root))
    }

    pub(crate) fn kubernetes(&self) -> Kubernetes {
        Kubernetes::on(self.machine("k3s-cp-1"))
    }

    /// Everything that it was asked for.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.0.asked.lock().unwrap().clone()
    }

    fn answer(&self, url: &str, metadata: bool) -> String {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let query: Vec<(String, String)> = query
            .split('&')
            .filter_map(|part| part.split_once('='))
            .map(|(key, value)| (key.to_owned(), plain(value)))
            .collect();
        let part = |key: &str| {
            let mut parts = query.iter().filter(|(name, _)| name == key);
            parts.next().map_or("", |(_, value)| value)
        };
        let none = Vec::new();
        let all = match path {
            "/readyz" => return "ok".to_owned(),
            "/api/v1/persistentvolumes" => &none,
            "/api/v1/nodes" => &self.0.nodes,
            "/api/v1/pods" => &self.0.pods,
            _ => return crate::testing::NOT_FOUND.to_owned(),
        };
        let from = part("continue");
        if !from.is_empty() && self.expires() {
            return json!({"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
                "message": "The provided continue parameter is too old"})
            .to_string();
        }
        // A Node's pods are side by side: looking through all of them for each Node would take long.
        let own = part("fieldSelector").strip_prefix("spec.nodeName=n-");
        let own = own.and_then(|rest| rest.split(',').next()?.parse().ok());
        let (first, step) = own.map_or((0, 1), |node| (node, self.0.nodes.len()));
        let selected = all.iter().skip(first).step_by(step).filter(|object| {
            is_selected(object, part("labelSelector"), "/metadata/labels")
                && is_selected(object, part("fieldSelector"), "")
        });
        let from: usize = from.parse().unwrap_or(0);
        let limit: usize = part("limit").parse().unwrap_or(usize::MAX);
        let mut page: Vec<Value> = selected
            .skip(from)
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        let more = page.len() > limit;
        page.truncate(limit);
        for object in &mut page {
            if metadata {
                // Most of a real object's metadata says who manages which field.
                object["metadata"]["managedFields"] = json!("f".repeat(2000));
                *object = json!({"kind": "PartialObjectMetadata", "metadata": object["metadata"]});
            } else {
                let length = self.0.size.saturating_sub(object.to_string().len());
                object["spec"]["env"] = json!(SECRET.repeat(length / SECRET.len() + 1));
            }
        }
        let kind = if metadata {
            "PartialObjectMetadataList"
        } else {
            "PodList"
        };
        let next = if more {
            (from + limit).to_string()
        } else {
            String::new()
        };
        // As Go writes them.
        let items = if metadata && page.is_empty() {
            Value::Null
        } else {
            Value::Array(page)
        };
        json!({"kind": kind, "metadata": {"resourceVersion": "7", "continue": next}, "items": items})
            .to_string()
    }

    fn expires(&self) -> bool {
        let left = &self.0.expiring;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    }
}

/// Whether an object has what a selector asks for: `KEY=VALUE` and `KEY!=VALUE`, all of them.
fn is_selected(object: &Value, selector: &str, root: &str) -> bool {
    selector
        .split(',')
        .filter(|part| !part.is_empty())
        .all(|part| {
            let (key, value) = part.split_once('=').unwrap();
            let wanted = !key.ends_with('!');
            let key = key.trim_end_matches('!');
            let found = if root.is_empty() {
                object.pointer(&format!("/{}", key.replace('.', "/")))
            } else {
                object.pointer(root).and_then(|labels| labels.get(key))
            };
            let found = match found {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => String::new(),
            };
            (found == value) == wanted
        })
}

/// Percent-decoded.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let hex: Vec<u8> = rest.by_ref().take(2).collect();
        let hex = String::from_utf8(hex).unwrap();
        bytes.push(u8::from_str_radix(&hex, 16).unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

#[async_trait]
impl Remote for Api {
    async fn exec(&self, command: &str, _: &[u8], _: Duration) -> Result<Output> {
        let Some((_, url)) = command.rsplit_once("https://127.0.0.1:6443") else {
            return Ok(Output::default());
        };
        let is_of_it = |c: char| c.is_ascii_alphanumeric() || "-._~/?&=%".contains(c);
        let url: String = url.chars().take_while(|c| is_of_it(*c)).collect();
        let answer = self.answer(&url, command.contains("as=PartialObjectMetadataList"));
        let bytes = answer.len();
        self.0.asked.lock().unwrap().push(Asked { url, bytes });
        let mut kept = Kept::default();
        kept.add(answer.as_bytes());
        Ok(Output::of(0, &kept, &Kept::default()))
    }

    async fn attach(&self, _: &str, _: Input, _: bool) -> Result<i32> {
        Ok(0)
    }

    async fn open(&self, _: &str, _: &[u8]) -> Result<Box<dyn Stream>> {
        std::future::pending().await
    }

    async fn forward(&self, _: &str, _: u16) -> Result<Box<dyn Stream>> {
        std::future::pending().await
    }
}
