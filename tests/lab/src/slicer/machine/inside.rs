//! A command in a VM whose process is known outside, so that it can be signalled and does not outlive its handle.
//!
//! What enters a VM forks, because only a child can be in another process namespace, and waits for that child. A
//! signal for the one that waits is none for the child: killed, it leaves a command that runs on, with the end of its
//! standard input. Here the command leads a process group of its own, and signals go to that group.

use std::{
    ffi::OsString,
    fs,
    process::{ExitStatus, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpgid, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::{sleep, timeout},
};

use super::{Entry, Machines, going::Going};

/// How long a command may take to appear in the VM.
const LIMIT: Duration = Duration::from_secs(20);

/// Holds a command back until its process is known outside. Without the line it does not start at all: then the
/// daemon is gone, or no longer interested.
const GATE: &str = r#"read -r _ || exit 1; exec "$@""#;
/// The same for a command that reads nothing.
const GATE_WITHOUT_INPUT: &str = r#"read -r _ || exit 1; exec "$@" </dev/null"#;

/// The process group of a command in a VM.
#[derive(Clone)]
pub(crate) struct Group {
    /// `None`: the command ended before it had one.
    leader: Option<Pid>,
    over: Arc<AtomicBool>,
}

impl Group {
    /// Sends a signal to every process of the group, as long as it is not known to be over.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader
            && !self.over.load(Ordering::Relaxed)
        {
            // Gone already is what a signal is for.
            let _ = kill_process_group(leader, signal);
        }
    }
}

/// A command that runs in a VM. Dropped before its end, it is killed with its whole group.
pub(crate) struct Inside {
    outer: Child,
    stdin: Option<ChildStdin>,
    group: Group,
    pid: Option<u32>,
    _going: Option<Going>,
}

impl Inside {
    /// Starts a command; `stdin` says whether it reads anything.
    ///
    /// # Errors
    ///
    /// The VM does not run, or the command's process does not appear in it.
    pub(crate) async fn start(
        machines: &dyn Machines,
        hostname: &str,
        entry: &Entry,
        stdin: bool,
    ) -> Result<Self> {
        let gate = if stdin { GATE } else { GATE_WITHOUT_INPUT };
        // By their paths: the command's environment may have a PATH of its own.
        let mut argv = ["/usr/bin/setsid", "/bin/sh", "-c", gate, "sh"]
            .map(OsString::from)
            .to_vec();
        argv.extend(entry.argv.iter().cloned());
        let gated = Entry {
            argv,
            ..entry.clone()
        };
        let mut outer = machines
            .enter(hostname, &gated)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        // From here to the line for the gate, an error or a drop closes the pipe, and the command does not start.
        let mut pipe = outer.stdin.take().context("the command has no input")?;
        let leader = timeout(LIMIT, leader(&mut outer))
            .await
            .with_context(|| format!("the command did not start in {hostname}"))??;
        let group = Group {
            leader,
            over: Arc::default(),
        };
        let pid = leader.and_then(pid_inside);
        let mut inside = Self {
            _going: Going::of(&outer),
            outer,
            stdin: None,
            group,
            pid,
        };
        // A command that ended before its turn says why by its status.
        let _ = pipe.write_all(b"\n").await;
        inside.stdin = stdin.then_some(pipe);
        Ok(inside)
    }

    /// Its process group.
    pub(crate) fn group(&self) -> Group {
        self.group.clone()
    }

    /// Its process number as the VM sees it; `None` when it ended at once.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Its standard input, once.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Its output and its errors, once.
    pub(crate) fn outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.outer.stdout.take(), self.outer.stderr.take())
    }

    /// Waits for its end. A standard input that was not taken ends now.
    pub(crate) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.stdin = None;
        let status = self.outer.wait().await?;
        self.group.over.store(true, Ordering::Relaxed);
        Ok(status)
    }

    /// Waits for its end, and collects at most `limit` bytes of either output.
    pub(crate) async fn collect(mut self, limit: u64) -> std::io::Result<Output> {
        self.stdin = None;
        let (stdout, stderr) = self.outputs();
        let (stdout, stderr) = tokio::join!(slurp(stdout, limit), slurp(stderr, limit));
        let status = self.wait().await?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }
}

impl Drop for Inside {
    /// First the signal, then the pipes: the command must not take their end for the end of its input.
    fn drop(&mut self) {
        self.group.signal(Signal::KILL);
    }
}

async fn slurp(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(limit).read_to_end(&mut bytes).await;
    }
    bytes
}

/// Waits until the child of what entered the VM leads a group of its own; `None` when it ended before.
async fn leader(outer: &mut Child) -> Result<Option<Pid>> {
    let waiting = outer.id().context("the command ended at once")?;
    loop {
        let children = fs::read_to_string(format!("/proc/{waiting}/task/{waiting}/children"))
            .unwrap_or_default();
        let child = children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok())
            .and_then(Pid::from_raw);
        if let Some(child) = child
            && getpgid(Some(child)).is_ok_and(|group| group == child)
        {
            return Ok(Some(child));
        }
        if outer.try_wait()?.is_some() {
            return Ok(None);
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// A process's number in the innermost namespace that it is in.
fn pid_inside(pid: Pid) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rustix::process::kill_process;

    use super::*;
    use crate::machine::pretend::Pretend;

    async fn started(script: &str, stdin: bool) -> Inside {
        let entry = Entry::root(["sh", "-c", script]);
        Inside::start(&Pretend::default(), "a-1", &entry, stdin)
            .await
            .unwrap()
    }

    /// A process that ended and whose parent has not asked yet is over, too.
    fn alive(pid: u32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn until(mut holds: impl FnMut() -> bool) {
        for _ in 0..500 {
            if holds() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain");
    }

    /// The number that is told is the command's own, not that of what entered the VM.
    #[tokio::test]
    async fn the_pid_is_that_of_the_command() {
        let inside = started("echo $$", false).await;
        let pid = inside.pid().unwrap();
        let output = inside.collect(100).await.unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("{pid}\n")
        );
    }

    /// A dropped command ends with everything that it started.
    #[tokio::test]
    async fn a_dropped_command_ends_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!(
            "sleep 60 & echo $! > {0}.new; mv {0}.new {0}; wait",
            file.display()
        );
        let inside = started(&script, false).await;
        let shell = inside.pid().unwrap();
        until(|| file.exists()).await;
        let child: u32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        assert!(alive(shell) && alive(child));
        drop(inside);
        until(|| !alive(shell) && !alive(child)).await;
    }

    /// A dropped command does not read the end of a pipe that broke: what follows its reading is not done.
    #[tokio::test]
    async fn a_dropped_command_does_not_see_the_end_of_its_input() {
        let dir = tempfile::tempdir().unwrap();
        let (got, done) = (dir.path().join("got"), dir.path().join("done"));
        let script = format!("cat > {}; touch {}", got.display(), done.display());
        let mut inside = started(&script, true).await;
        let pid = inside.pid().unwrap();
        let mut pipe = inside.input().unwrap();
        pipe.write_all(b"half").await.unwrap();
        until(|| fs::read(&got).is_ok_and(|bytes| bytes == b"half")).await;
        drop(inside);
        drop(pipe);
        until(|| !alive(pid)).await;
        sleep(Duration::from_millis(100)).await;
        assert!(!done.exists());
    }

    /// A guest that shuts down stops, ends and continues all its processes. What entered it stops with its child
    /// (`nsenter` does so itself), and no one in there continues it: its child would never be reaped, and the guest
    /// would wait for that.
    #[tokio::test]
    async fn a_stop_in_the_guest_does_not_last_outside() {
        let mut inside = started("sleep 60", false).await;
        let outer = Pid::from_raw(inside.outer.id().unwrap().cast_signed()).unwrap();
        let stopped = |pid: Pid| {
            fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
                .is_ok_and(|stat| stat.contains(") T "))
        };
        let leader = inside.group.leader.unwrap();
        inside.group.signal(Signal::STOP);
        kill_process(outer, Signal::STOP).unwrap();
        until(|| stopped(outer) && stopped(leader)).await;
        // A command that was stopped on purpose stays so.
        sleep(Duration::from_millis(600)).await;
        assert!(stopped(outer) && stopped(leader));
        inside.group.signal(Signal::TERM);
        inside.group.signal(Signal::CONT);
        let ended = timeout(Duration::from_secs(5), inside.wait()).await;
        assert!(ended.is_ok(), "what entered the guest is still stopped");
    }

    /// What cannot be run has the shell's status for it, and its words.
    #[tokio::test]
    async fn a_missing_program_is_127() {
        let entry = Entry::root(["/no/such/program"]);
        let inside = Inside::start(&Pretend::default(), "a-1", &entry, false).await;
        let output = inside.unwrap().collect(1000).await.unwrap();
        assert_eq!(output.status.code(), Some(127));
        assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/program"));
    }
}
