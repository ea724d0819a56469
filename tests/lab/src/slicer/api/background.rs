//! Commands that run on in a VM without a client: kept with what they last said.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::{io::AsyncRead, sync::watch};

use super::{
    failure::Failure,
    order::{self, End, Order, now},
};
use crate::{
    daemon::{fleet::Fleet, record::State, token},
    machine::inside::{Group, Inside},
};

/// What all rings of a daemon may hold together.
const BUDGET: u64 = 256 << 20;

/// All commands in the background, by VM and id.
#[derive(Default)]
pub(crate) struct Execs(Mutex<BTreeMap<(String, String), Arc<Exec>>>);

/// One command.
pub(crate) struct Exec {
    /// Its process in the VM.
    pub(crate) pid: u32,
    /// What signals go to.
    pub(crate) group: Group,
    /// The launch of the VM that it runs in: the agent's table ends with that.
    vm_launch: u64,
    about: Value,
    ring: Mutex<Ring>,
    /// Counts what happened, so that followers wake.
    pub(crate) news: watch::Sender<u64>,
}

/// What a command last said.
#[derive(Default)]
pub(crate) struct Ring {
    frames: VecDeque<(u64, usize, Value)>,
    cap: u64,
    held: u64,
    next: u64,
    written: u64,
    dropped: u64,
    dropped_frames: u64,
    end: Option<(End, String)>,
}

impl Execs {
    /// Starts a command.
    pub(crate) async fn launch(
        &self,
        fleet: &Fleet,
        hostname: &str,
        order: Order,
        cap: u64,
    ) -> Result<Value, Failure> {
        let vm_launch = fleet
            .node(hostname)
            .ok_or_else(|| Failure::no_vm(hostname))?
            .launch;
        let reserved: u64 = self.table(fleet).values().map(|exec| exec.ring().cap).sum();
        if reserved.saturating_add(cap) > BUDGET {
            return Err(Failure::new(
                503,
                "the agent's ring buffer budget is exhausted",
            ));
        }
        let order = order.with_types();
        let mut inside = Inside::start(&*fleet.machines, hostname, &order.entry, false).await?;
        let id = token::random(8)?;
        // 0: it ended before it was a command, and has no number to give.
        let (pid, started) = (inside.pid().unwrap_or(0), now());
        let mut about = json!({
            "exec_id": id,
            "pid": pid,
            "command": order.cmd,
            "args": order.args,
            "uid": order.entry.uid,
            "started_at": started,
            "ring_bytes": cap,
        });
        // No directory is no field: the document has a text there, never null.
        if let Some(cwd) = &order.entry.cwd {
            about["cwd"] = json!(cwd);
        }
        let exec = Arc::new(Exec {
            pid,
            group: inside.group(),
            vm_launch,
            about,
            ring: Mutex::new(Ring {
                cap,
                ..Ring::default()
            }),
            news: watch::Sender::new(0),
        });
        exec.push(0, order::started(pid, &started));
        self.table(fleet)
            .insert((hostname.to_owned(), id.clone()), Arc::clone(&exec));
        tokio::spawn(async move {
            let (stdout, stderr) = inside.outputs();
            tokio::join!(
                exec.listen("stdout", &order, stdout),
                exec.listen("stderr", &order, stderr)
            );
            let end = inside.wait().await.map_or(
                End {
                    code: -1,
                    signal: None,
                },
                End::of,
            );
            exec.ring().end = Some((end, now()));
            exec.push(0, order.last(end));
        });
        Ok(json!({"exec_id": id, "pid": pid, "started_at": started, "ring_bytes": cap}))
    }

    /// A command; 410 when it was reaped, or never was.
    pub(crate) fn find(
        &self,
        fleet: &Fleet,
        hostname: &str,
        id: &str,
    ) -> Result<Arc<Exec>, Failure> {
        self.table(fleet)
            .get(&(hostname.to_owned(), id.to_owned()))
            .cloned()
            .ok_or_else(|| Failure::new(410, format!("exec {id} was reaped")))
    }

    /// Forgets a command, without ending it.
    pub(crate) fn reap(&self, fleet: &Fleet, hostname: &str, id: &str) -> Result<(), Failure> {
        self.table(fleet)
            .remove(&(hostname.to_owned(), id.to_owned()))
            .map(|_| ())
            .ok_or_else(|| Failure::new(410, format!("exec {id} was reaped")))
    }

    /// All commands of a VM.
    pub(crate) fn of_vm(&self, fleet: &Fleet, hostname: &str) -> Vec<Value> {
        self.table(fleet)
            .iter()
            .filter(|((vm, _), _)| vm == hostname)
            .map(|(_, exec)| exec.status())
            .collect()
    }

    /// The commands of VMs that run. An agent knows nothing of its VM's earlier launches, and a name may be another
    /// VM's by now.
    fn table(&self, fleet: &Fleet) -> MutexGuard<'_, BTreeMap<(String, String), Arc<Exec>>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|(vm, _), exec| {
            fleet
                .node(vm)
                .is_some_and(|node| node.launch == exec.vm_launch && node.state != State::Stopped)
        });
        table
    }
}

impl Exec {
    /// How it ended and when, once it has.
    pub(crate) fn end(&self) -> Option<(End, String)> {
        self.ring().end.clone()
    }

    /// What is known of it.
    pub(crate) fn status(&self) -> Value {
        let ring = self.ring();
        let mut status = self.about.clone();
        status["running"] = json!(ring.end.is_none());
        status["exit_code"] = json!(ring.end.as_ref().map(|(end, _)| end.code));
        status["ended_at"] = json!(ring.end.as_ref().map(|(_, when)| when));
        if let Some(signal) = ring.end.as_ref().and_then(|(end, _)| end.signal) {
            status["signal"] = json!(signal.to_string());
        }
        status["bytes_written"] = json!(ring.written);
        status["bytes_dropped"] = json!(ring.dropped);
        status["next_id"] = json!(ring.next);
        status
    }

    /// The frames from this id on, a gap first when some are gone; and the id to go on from.
    pub(crate) fn frames(&self, from: u64) -> (Vec<Value>, u64) {
        let ring = self.ring();
        let oldest = ring.frames.front().map_or(ring.next, |(id, _, _)| *id);
        let mut frames = Vec::new();
        if from < oldest {
            frames.push(json!({
                "type": "gap",
                "timestamp": now(),
                "dropped_bytes": ring.dropped,
                "dropped_frames": ring.dropped_frames,
                "message": "older output was dropped",
            }));
        }
        frames.extend(
            ring.frames
                .iter()
                .filter(|(id, _, _)| *id >= from)
                .map(|(_, _, frame)| frame.clone()),
        );
        (frames, ring.next)
    }

    async fn listen(&self, name: &str, order: &Order, pipe: Option<impl AsyncRead + Unpin>) {
        let mut pieces = order.pieces(pipe);
        while let Some(piece) = pieces.next().await {
            self.push(piece.len(), order.frame(name, &piece));
        }
    }

    /// Keeps a frame; `size` is what it counts for, in bytes of output.
    fn push(&self, size: usize, mut frame: Value) {
        let mut ring = self.ring();
        let id = ring.next;
        frame["id"] = json!(id);
        frame["timestamp"] = json!(now());
        ring.next += 1;
        ring.written += size as u64;
        ring.held += size as u64;
        ring.frames.push_back((id, size, frame));
        while ring.held > ring.cap
            && let Some((_, size, _)) = ring.frames.pop_front()
        {
            ring.held -= size as u64;
            ring.dropped += size as u64;
            ring.dropped_frames += 1;
        }
        drop(ring);
        self.news.send_modify(|count| *count += 1);
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
