//! Connecting without a question to the person: where another host may do as well, one that needs a password or a decision about its
//! host key is not worth one.

use async_trait::async_trait;

use crate::failure::Result;
use crate::question::{Ask, Typed};

tokio::task_local! {
    static UNASKED: ();
}

/// Does the work as if no one were at the terminal, as far as machines are connected to: what would be asked fails by name.
pub(crate) async fn unasked<F: Future>(work: F) -> F::Output {
    UNASKED.scope((), work).await
}

/// Whether questions are out of place.
pub(crate) fn is_unasked() -> bool {
    UNASKED.try_with(|()| ()).is_ok()
}

/// Answers nothing.
pub(super) struct NoAnswer;

#[async_trait]
impl Ask for NoAnswer {
    async fn confirm(&self, _: &str) -> Result<Option<bool>> {
        Ok(None)
    }

    async fn secret(&self, _: &str) -> Result<Option<Typed>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Surroundings;
    use super::*;

    #[tokio::test]
    async fn no_question_is_asked_within_and_all_are_afterwards() {
        let answer = unasked(async { Surroundings::of_process().ask.confirm("?").await }).await;
        assert_eq!(answer, Ok(None));
        assert!(unasked(async { is_unasked() }).await && !is_unasked());
    }
}
