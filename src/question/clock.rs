//! Limits that people are not held to: a question stops them, for only the network's time counts.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How many questions are open: asked, or waiting to be.
static OPEN: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// A question that is open until this is dropped.
pub(super) struct Open(());

impl Open {
    /// From now on.
    pub(super) fn now() -> Self {
        OPEN.send_modify(|count| *count += 1);
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// The limit was over before the work was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for `work` as long as `limit`, not counting the time in which a question is open, whoever asks it.
pub async fn limited<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut open = OPEN.subscribe();
    let mut left = limit;
    tokio::pin!(work);
    loop {
        let stopped = *open.borrow_and_update() > 0;
        let began = Instant::now();
        tokio::select! {
            // The work first: it may have just ended, or opened a question.
            biased;
            done = &mut work => return Ok(done),
            // The sender is never dropped.
            _ = open.changed() => {
                if !stopped {
                    left = left.saturating_sub(began.elapsed());
                }
            }
            () = tokio::time::sleep(left), if !stopped => return Err(Elapsed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn only_time_without_an_open_question_counts() {
        let begin = Instant::now();
        let asking = async {
            tokio::time::sleep(2 * SECOND).await;
            let question = Open::now();
            tokio::time::sleep(600 * SECOND).await;
            drop(question);
            tokio::time::sleep(2 * SECOND).await;
        };
        assert_eq!(limited(5 * SECOND, asking).await, Ok(()));
        assert_eq!(begin.elapsed(), 604 * SECOND);

        let begin = Instant::now();
        let silent = async {
            drop(Open::now());
            std::future::pending::<()>().await;
        };
        assert_eq!(limited(5 * SECOND, silent).await, Err(Elapsed));
        assert_eq!(begin.elapsed(), 5 * SECOND);
    }
}
