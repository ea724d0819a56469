//! A machine we can reach: looking is free, changing asks for the engine's `WritePermit`.

use std::sync::Arc;
use std::time::Instant;

use super::batch::Batches;
use super::probe_cache::ProbeCache;
use super::root::Root;
use super::{Input, Output, Probe, Put, Remote, Script, Stream, Sudo};
use crate::event::Asked;
use crate::failure::{Code, Failure, Result};
use crate::log;
use crate::pipeline::WritePermit;
use crate::shell::quote;

/// A host or a VM, by the name the plan gives it.
pub struct Machine {
    name: String,
    root: Arc<Root>,
    batches: Arc<Batches>,
    probes: ProbeCache,
}

impl Machine {
    /// A machine called `name`, reached by `remote`, where root is had by `sudo`.
    pub fn new(name: impl Into<String>, remote: Box<dyn Remote>, sudo: Sudo) -> Self {
        let root = Arc::new(Root { remote, sudo });
        Self {
            name: name.into(),
            batches: Arc::new(Batches::new(Arc::clone(&root))),
            root,
            probes: ProbeCache::default(),
        }
    }

    /// The same machine under another name.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    /// The plan's name for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks one of the closed set of questions. One that nobody answered is a failure, whatever it is about. So is an answer
    /// that was cut, but of the API's, which can be asked for less at a time.
    pub async fn probe(&self, probe: &Probe) -> Result<Output> {
        let answer = self.probes.answer(probe);
        let output = answer.get_or_try_init(|| async {
            let script = probe.script();
            let asked = async {
                if self.root.remote.is_far()
                    && probe.is_quick()
                    && let Some(output) = Batches::ask(&self.batches, &script).await
                {
                    return Ok(output);
                }
                self.root.run(&script).await
            };
            self.logged(Asked::Look, &script, asked).await
        });
        let output = output.await?;
        if output.cut && !matches!(probe, Probe::Kubernetes { .. }) {
            let what = format!("{} does not answer a question whole", self.name);
            return Err(Failure::new(Code::Command, what).because(output.cut_words()));
        }
        if probe.is_unanswered(output) {
            return Err(self.unanswered(probe, output));
        }
        Ok(output.clone())
    }

    fn unanswered(&self, probe: &Probe, output: &Output) -> Failure {
        let what = match probe.thing() {
            Some(thing) => format!("cannot look at {thing} on {}", self.name),
            None => format!("{} cannot be asked", self.name),
        };
        let (status, words) = (output.status, output.last_words());
        Failure::new(Code::Command, what).because(format!("exit status {status}: {words}"))
    }

    /// A file's content, or `None` where it does not exist.
    pub async fn read(&self, path: &str) -> Result<Option<String>> {
        let output = self.probe(&Probe::File(path.to_owned())).await?;
        Ok(output.ok().then_some(output.stdout))
    }

    /// A file's content; `None` only where the machine says that there is no such file.
    pub async fn read_if_there(&self, path: &str) -> Result<Option<String>> {
        if let Some(text) = self.read(path).await? {
            return Ok(Some(text));
        }
        let there = self.probe(&Probe::Exists(path.to_owned())).await?;
        if there.ok() && there.stdout.trim() == "no" {
            return Ok(None);
        }
        Err(Failure::new(
            Code::Command,
            format!("cannot read {path} on {}", self.name),
        )
        .because(there.last_words()))
    }

    /// Runs a script as root, whatever its exit status.
    pub async fn run(&self, _: &WritePermit, script: &Script) -> Result<Output> {
        self.probes.forget();
        let run = self.root.run(script);
        let output = self.logged(Asked::Change, script, run).await;
        self.probes.forget();
        output
    }

    /// Runs a script as root; a non-zero status is a failure that carries its last words.
    pub async fn must(&self, permit: &WritePermit, what: &str, script: &Script) -> Result<Output> {
        let output = self.run(permit, script).await?;
        if output.ok() {
            return Ok(output);
        }
        Err(
            Failure::new(Code::Command, format!("{what} failed on {}", self.name)).because(
                format!("exit status {}: {}", output.status, output.last_words()),
            ),
        )
    }

    /// Writes a file; its directory is made where missing (0755). What has not arrived whole replaces nothing.
    pub async fn put(&self, permit: &WritePermit, file: &Put<'_>) -> Result<()> {
        let script = file.script();
        self.must(permit, &format!("writing {}", file.path), &script)
            .await
            .map(drop)
    }

    /// Runs a command as root on this process's own terminal or pipes; its exit status.
    pub async fn attach(&self, command: &str, tty: bool) -> Result<i32> {
        if tty && matches!(self.root.sudo, Sudo::Password(_)) {
            // Whoever has a terminal can answer sudo itself: what we sent there could be echoed, or reach the command.
            let prompt = quote(&format!("sudo password on {}: ", self.name));
            let command = format!("sudo -k -p {prompt} -- /bin/sh -c {}", quote(command));
            return self
                .root
                .remote
                .attach(&command, Input::Own(Vec::new()), tty)
                .await;
        }
        let (command, first) = self.root.sudo.wrap(command, None)?;
        self.root
            .remote
            .attach(&command, Input::Own(first), tty)
            .await
    }

    /// Runs a command as root that reads `stdin`, on this process's own stdout and stderr; its exit status.
    pub async fn attach_with(&self, command: &str, stdin: &[u8]) -> Result<i32> {
        let (command, mut input) = self.root.sudo.wrap(command, None)?;
        input.extend_from_slice(stdin);
        self.root
            .remote
            .attach(&command, Input::Bytes(input), false)
            .await
    }

    /// Runs a script as root that reads nothing, on this process's own stdout and stderr; its exit status. One that
    /// `follows` would go on for ever: it ends with this process at the latest, however that ends.
    pub async fn tell(&self, script: &Script, follows: bool) -> Result<i32> {
        if !follows {
            return self.attach_with(script.text(), b"").await;
        }
        let script = script.tied();
        let (command, first) = self.root.sudo.wrap(script.text(), None)?;
        let input = Input::Held(first);
        self.root.remote.attach(&command, input, false).await
    }

    /// Starts a command as root, for those in this room who talk with one while it runs.
    pub(super) async fn open(&self, command: &str) -> Result<Box<dyn Stream>> {
        let (command, first) = self.root.sudo.wrap(command, None)?;
        self.root.remote.open(&command, &first).await
    }

    /// Connects from the machine to `host:port`.
    pub async fn forward(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        self.root.remote.forward(host, port).await
    }

    /// Waits for what a script leaves behind, and writes into the log what was run here and how it ended.
    async fn logged(
        &self,
        kind: Asked,
        script: &Script,
        running: impl Future<Output = Result<Output>>,
    ) -> Result<Output> {
        let begin = Instant::now();
        let output = running.await;
        let end = output
            .as_ref()
            .map(|output| output.status)
            .map_err(Clone::clone);
        log::asked(&self.name, kind, script.text(), begin.elapsed(), &end);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Local;

    /// As k3s leaves one where its data were set aside.
    #[tokio::test]
    async fn a_link_to_nothing_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent-token");
        fs_err::os::unix::fs::symlink(dir.path().join("token"), &path).unwrap();
        let machine = Machine::new("here", Box::new(Local), Sudo::Root);
        let read = machine.read_if_there(&path.display().to_string()).await;
        assert_eq!(read.unwrap(), None);
    }

    /// Half a file was taken for the whole one.
    #[tokio::test]
    async fn a_file_that_is_too_long_is_not_read_as_a_shorter_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long").display().to_string();
        fs_err::write(&path, vec![b'x'; crate::remote::OUTPUT_LIMIT + 1]).unwrap();
        let machine = Machine::new("here", Box::new(Local), Sudo::Root);
        let failure = machine.read(&path).await.unwrap_err();
        assert!(failure.to_string().contains("cut at 4 MiB"), "{failure}");
    }

    /// Counts its questions; each takes a while and fails, as on a host that has just died.
    struct Dead(Arc<std::sync::atomic::AtomicUsize>);

    #[async_trait::async_trait]
    impl Remote for Dead {
        async fn exec(&self, _: &str, _: &[u8], limit: std::time::Duration) -> Result<Output> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(limit).await;
            Err(Failure::new(Code::SshLost, "it is gone"))
        }
        async fn attach(&self, _: &str, _: Input, _: bool) -> Result<i32> {
            unreachable!()
        }
        async fn open(&self, _: &str, _: &[u8]) -> Result<Box<dyn Stream>> {
            unreachable!()
        }
        async fn forward(&self, _: &str, _: u16) -> Result<Box<dyn Stream>> {
            unreachable!()
        }
    }

    /// Each of ten steps waited for the nine before it: 5 minutes for one dead host.
    #[tokio::test(start_paused = true)]
    async fn those_who_ask_a_dead_host_the_same_wait_once() {
        let asked = Arc::default();
        let machine = Machine::new("gone", Box::new(Dead(Arc::clone(&asked))), Sudo::Root);
        let begin = tokio::time::Instant::now();
        let probes = (0..10).map(|_| machine.probe(&Probe::Routes));
        let answers = futures_util::future::join_all(probes).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(begin.elapsed() <= std::time::Duration::from_secs(30));
        assert!(
            machine.probe(&Probe::Routes).await.is_err(),
            "asked again later"
        );
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 2);
    }
}
