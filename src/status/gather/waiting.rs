//! Whose answers are still missing: what takes long is better seen to be waited for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::question::limited;

/// What is asked at the moment, by name.
#[derive(Default)]
pub struct Waiting(Mutex<Vec<String>>);

impl Waiting {
    /// Does the work, and counts `whom` as waited for meanwhile.
    pub(super) async fn on<T>(&self, whom: &str, work: impl Future<Output = T>) -> T {
        self.change(|names| names.push(whom.to_owned()));
        let done = work.await;
        self.change(|names| {
            if let Some(at) = names.iter().position(|name| name == whom) {
                names.swap_remove(at);
            }
        });
        done
    }

    /// Does the work; where it takes longer than `timeout`, says once who is waited for.
    pub async fn told<T>(
        &self,
        timeout: Duration,
        say: impl Fn(&str),
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        if let Ok(done) = limited(timeout, &mut work).await {
            return done;
        }
        let names = self.names();
        if !names.is_empty() {
            say(&format!("waiting for {} …", names.join(", ")));
        }
        work.await
    }

    fn names(&self) -> Vec<String> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names: BTreeSet<&String> = names.iter().collect();
        names.into_iter().cloned().collect()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<String>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one API that hung nothing was to be seen for 21 s.
    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_named_once() {
        let (waiting, said) = (Waiting::default(), Mutex::new(Vec::new()));
        for (seconds, told) in [(1, 0), (9, 1)] {
            let slow = waiting.on(
                "k3s-agent-1 (Slicer)",
                tokio::time::sleep(Duration::from_secs(seconds)),
            );
            let quick = waiting.on("n100", async {});
            let say = |text: &str| said.lock().unwrap().push(text.to_owned());
            let both = async { tokio::join!(slow, quick) };
            waiting.told(Duration::from_secs(2), say, both).await;
            assert_eq!(said.lock().unwrap().len(), told);
        }
        assert_eq!(
            *said.lock().unwrap(),
            ["waiting for k3s-agent-1 (Slicer) …"]
        );
        assert!(waiting.names().is_empty());
    }
}
