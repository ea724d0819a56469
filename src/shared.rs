//! A value that is made when it is first asked for. Those who ask while it is being made share the outcome, a failure included:
//! waiting one after the other for a machine that does not answer would multiply its silence.

use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::failure::{Failure, Result};

/// A value that is made once; after a failure the next one who asks tries again.
pub(crate) struct Shared<T> {
    value: OnceCell<T>,
    attempt: Mutex<Failed>,
}

/// The last attempt's failure and when it ended. Held locked while an attempt is under way.
#[derive(Default)]
pub(crate) struct Failed(Option<(Instant, Failure)>);

impl Failed {
    /// The failure of an attempt that ended after `asked`: whoever has waited since then waited for it.
    pub(crate) fn since(&self, asked: Instant) -> Option<Failure> {
        let (ended, failure) = self.0.as_ref()?;
        (*ended > asked).then(|| failure.clone())
    }

    /// Keeps how an attempt ended.
    pub(crate) fn keep<T>(&mut self, ended: &Result<T>) {
        self.0 = ended
            .as_ref()
            .err()
            .map(|why| (Instant::now(), why.clone()));
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            value: OnceCell::new(),
            attempt: Mutex::default(),
        }
    }
}

impl<T> Shared<T> {
    /// The value, made by `attempt` where there is none yet.
    pub(crate) async fn get_or_try_init<F>(&self, attempt: impl FnOnce() -> F) -> Result<&T>
    where
        F: Future<Output = Result<T>>,
    {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let asked = Instant::now();
        let mut last = self.attempt.lock().await;
        if let Some(failure) = last.since(asked) {
            return Err(failure);
        }
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = attempt().await;
        last.keep(&value);
        let value = value?;
        Ok(self.value.get_or_init(|| async { value }).await)
    }

    /// Puts a value in its place.
    #[cfg(test)]
    pub(crate) fn set(&self, value: T) {
        let _ = self.value.set(value);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::failure::Code;

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_fails_is_shared_by_those_who_wait_and_made_again_later() {
        let (shared, tries) = (Shared::<u8>::default(), Cell::new(0));
        let ask = || {
            shared.get_or_try_init(|| async {
                tries.set(tries.get() + 1);
                tokio::time::sleep(Duration::from_secs(15)).await;
                match tries.get() {
                    1 => Err(Failure::new(Code::SshUnreachable, "no answer")),
                    _ => Ok(7),
                }
            })
        };
        let all = futures_util::future::join_all([ask(), ask(), ask()]).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(tries.get(), 1);
        assert_eq!(ask().await.unwrap(), &7);
        assert_eq!((ask().await.unwrap(), tries.get()), (&7, 2));
    }
}
