//! Looks that a machine is asked for at about the same moment travel together, in one script: a command of its own costs
//! sshd a session, sudo a decision and the machine three processes, where most looks cost it one.
//!
//! Each look runs in a subshell and is followed on both outputs by a mark, its status beside it. What is looked at is
//! nobody's to trust, so the mark is random and travels by stdin: no process can see it, no file can hold it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::root::Root;
use super::{Output, Script};
use crate::secret::Secret;

/// How long the first look of a batch waits for company.
const BATCH_WINDOW: Duration = Duration::from_millis(2);

/// While a batch is on its way the next one gathers, but no longer than this: a slow one holds nobody up.
const BATCH_HEAD_START: Duration = Duration::from_millis(300);

/// The machine ends a batch a moment after this; looks that have no answer by then are asked for alone, with their own
/// limits.
const LIMIT: Duration = Duration::from_secs(3);

/// Most looks in one batch: their outputs share one bound.
const MOST: usize = 32;

/// The looks of one machine that wait for their batch.
pub(super) struct Batches {
    root: Arc<Root>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Asked>,
    /// Somebody sends batches until nobody waits.
    moving: bool,
}

struct Asked {
    script: Script,
    answer: oneshot::Sender<Output>,
}

impl Batches {
    /// None waits yet.
    pub(super) fn new(root: Arc<Root>) -> Self {
        Self {
            root,
            queue: Mutex::default(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is next to go; empty once nobody waits.
    fn next(&self) -> Vec<Asked> {
        let mut queue = self.queue();
        let count = queue.waiting.len().min(MOST);
        queue.moving = count > 0;
        queue.waiting.drain(..count).collect()
    }

    /// Asks in company; `None` where the script has to be asked for alone, as one that reads stdin has: in a batch that holds
    /// the mark.
    pub(super) async fn ask(batches: &Arc<Self>, script: &Script) -> Option<Output> {
        if !script.input().is_empty() {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        let first = {
            let mut queue = batches.queue();
            queue.waiting.push(Asked {
                script: script.clone(),
                answer: sender,
            });
            !std::mem::replace(&mut queue.moving, true)
        };
        if first {
            // A task of its own: whoever asked first may be given up, the others must not wait for it.
            tokio::spawn(send(Arc::clone(batches)));
        }
        answer.await.ok()
    }
}

async fn send(batches: Arc<Batches>) {
    loop {
        tokio::time::sleep(BATCH_WINDOW).await;
        let asked = batches.next();
        match asked.len() {
            0 => return,
            // Dropped: there is no company.
            1 => {}
            _ => {
                let batch = tokio::spawn(send_batch(Arc::clone(&batches.root), asked));
                let _ = tokio::time::timeout(BATCH_HEAD_START, batch).await;
            }
        }
    }
}

/// Takes one batch to the machine. Whoever gets no answer asks alone, and hears then what is wrong.
async fn send_batch(root: Arc<Root>, asked: Vec<Asked>) {
    let Ok(mark) = Secret::random_hex(16) else {
        return;
    };
    let (scripts, answers): (Vec<_>, Vec<_>) = asked
        .into_iter()
        .map(|asked| (asked.script, asked.answer))
        .unzip();
    let Ok(output) = root.partly(&join(&scripts, &mark), LIMIT).await else {
        return;
    };
    for (answer, output) in answers.into_iter().zip(split(&output, mark.expose())) {
        let _ = answer.send(output);
    }
}

/// One script that runs all of them, one after the other.
fn join(scripts: &[Script], mark: &Secret) -> Script {
    let mut text = String::from(
        "IFS= read -r m; exec </dev/null; e() { printf '\\n%s %s\\n' \"$m\" $?; printf '\\n%s\\n' \"$m\" >&2; }\n",
    );
    for script in scripts {
        text.push_str("(\n");
        text.push_str(script.text());
        text.push_str("\n)\ne\n");
    }
    Script::of(text).stdin(format!("{}\n", mark.expose()))
}

/// The outputs of those that ended, in order.
fn split(output: &Output, mark: &str) -> Vec<Output> {
    let mark = format!("\n{mark}");
    let mut stderr = output.stderr.split(&mark);
    let mut stdout = output.stdout.split(&mark);
    let mut found = Vec::new();
    let mut own = stdout.next().unwrap_or_default();
    for part in stdout {
        let Some((status, rest)) = part.split_once('\n') else {
            break;
        };
        let (Ok(status), Some(errors)) = (status.trim().parse(), stderr.next()) else {
            break;
        };
        found.push(Output {
            status,
            stdout: own.to_owned(),
            // The line that the mark stands in ends with it.
            stderr: match found.len() {
                0 => errors,
                _ => errors.strip_prefix('\n').unwrap_or(errors),
            }
            .to_owned(),
            // Both its marks are there, so it is whole; one without is asked for alone.
            cut: false,
        });
        own = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Input, Stream};
    use crate::remote::{Local, Machine, Probe, Remote, Sudo};
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// This machine, as if it were far.
    #[derive(Default)]
    struct Far(Arc<AtomicUsize>);

    #[async_trait]
    impl Remote for Far {
        async fn exec(
            &self,
            command: &str,
            stdin: &[u8],
            limit: Duration,
        ) -> crate::failure::Result<Output> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Local.exec(command, stdin, limit).await
        }
        async fn attach(&self, _: &str, _: Input, _: bool) -> crate::failure::Result<i32> {
            unreachable!()
        }
        async fn open(&self, _: &str, _: &[u8]) -> crate::failure::Result<Box<dyn Stream>> {
            unreachable!()
        }
        async fn forward(&self, _: &str, _: u16) -> crate::failure::Result<Box<dyn Stream>> {
            unreachable!()
        }
        fn is_far(&self) -> bool {
            true
        }
    }

    fn script(text: &str) -> Script {
        Script::of(text.to_owned())
    }

    async fn asked(scripts: &[&str]) -> (Vec<Option<Output>>, usize) {
        let far = Far::default();
        let count = Arc::clone(&far.0);
        let root = Arc::new(Root {
            remote: Box::new(far),
            sudo: Sudo::Root,
        });
        let batches = Arc::new(Batches::new(root));
        let scripts: Vec<_> = scripts.iter().map(|text| script(text)).collect();
        let asks = scripts.iter().map(|script| Batches::ask(&batches, script));
        let answers = futures_util::future::join_all(asks).await;
        (answers, count.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn each_gets_its_own_status_and_outputs_from_one_command() {
        let (answers, commands) = asked(&[
            "printf 'no newline'",
            "echo out; echo err >&2; exit 7",
            "cat; exec false",
            "cd /; x=1; echo '--'",
            "printf 'two\\n\\n'; printf %s \"$x\"",
        ])
        .await;
        assert_eq!(commands, 1);
        let told: Vec<_> = answers
            .iter()
            .flatten()
            .map(|output| {
                (
                    output.status,
                    output.stdout.as_str(),
                    output.stderr.as_str(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (0, "no newline", ""),
                (7, "out\n", "err\n"),
                (1, "", ""),
                (0, "--\n", ""),
                (0, "two\n\n", "")
            ]
        );
    }

    /// Neither a command line nor the environment tells the mark, so no output can forge a frame.
    #[tokio::test]
    async fn the_mark_is_nowhere_to_be_read() {
        let spy = "tr '\\0' '\\n' </proc/$$/cmdline; tr '\\0' '\\n' </proc/self/environ; cat";
        let (answers, _) = asked(&[spy, "true"]).await;
        let seen = answers[0].clone().unwrap().stdout;
        let hex = |word: &str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(seen.contains("printf") && !seen.split(|c: char| !c.is_alphanumeric()).any(hex));
    }

    /// What ended before is not lost, and what did not is asked for alone.
    #[tokio::test]
    async fn one_that_hangs_takes_no_answer_from_the_others() {
        let (answers, _) = asked(&["echo quick", "sleep 60", "echo late"]).await;
        let told: Vec<_> = answers
            .iter()
            .map(|answer| answer.as_ref().map(|output| output.stdout.as_str()))
            .collect();
        assert_eq!(told, [Some("quick\n"), None, None]);
    }

    /// A password travels by stdin; a batch that dropped it would ask without credentials.
    #[tokio::test]
    async fn a_script_with_input_is_asked_alone() {
        let root = Arc::new(Root {
            remote: Box::new(Far::default()),
            sudo: Sudo::Root,
        });
        let batches = Arc::new(Batches::new(root));
        let (with, other) = (script("cat").stdin("password"), script("true"));
        let (with, _) = tokio::join!(
            Batches::ask(&batches, &with),
            Batches::ask(&batches, &other)
        );
        assert_eq!(with, None);
        let join = Probe::Join {
            user: "node",
            password: Secret::new("x"),
        };
        assert!(!join.is_quick());
    }

    #[tokio::test]
    async fn whoever_is_alone_goes_alone() {
        assert_eq!(asked(&["true"]).await, (vec![None], 0));
    }

    #[tokio::test]
    async fn a_machine_that_is_far_is_asked_once() {
        let far = Far::default();
        let count = Arc::clone(&far.0);
        let machine = Machine::new("pi", Box::new(far), Sudo::Root);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it's").display().to_string();
        std::fs::write(&path, "content").unwrap();
        let probes = [
            Probe::File(path.clone()),
            Probe::FileFacts(path.clone()),
            Probe::Directory(dir.path().display().to_string()),
            Probe::Program("/bin/sh".into()),
            Probe::File("/nonexistent".into()),
        ];
        let answers =
            futures_util::future::join_all(probes.iter().map(|probe| machine.probe(probe)));
        let status: Vec<_> = answers
            .await
            .into_iter()
            .map(|out| out.unwrap().status)
            .collect();
        assert_eq!(status, [0, 0, 0, 0, 1]);
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    use proptest::prelude::*;
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// Whatever a machine prints: no panic, and never more answers than questions were asked.
        #[test]
        fn any_output_is_taken_apart(out in "(\n?MARK ?[0-9-]{0,3}\n?|.|\n){0,40}", err in "(\n?MARK\n?|.|\n){0,40}") {
            let output = Output { stdout: out.clone(), stderr: err, ..Output::default() };
            let found = split(&output, "MARK");
            prop_assert!(found.len() <= out.matches("MARK").count());
        }
    }
}
