//! What has to be agreed to before anything is changed.

use crate::failure::{Code, Failure, Result};
use crate::question::{Ask, Terminal};

/// Asks once on a terminal; without one, only `yes` will do. `instead` is what to do where the answer is no.
pub(super) async fn consent(yes: bool, instead: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    let declined = Failure::new(Code::Declined, "nothing was changed");
    match Terminal.confirm("Apply this plan?").await? {
        None => Err(declined
            .because("there is no terminal to ask on")
            .hint("read the text above and run again with --yes")),
        Some(true) => Ok(()),
        Some(false) => Err(declined.hint(instead)),
    }
}

/// A name that has to be typed, since what it names is lost.
pub(super) struct Name<'a> {
    /// The question.
    pub(super) question: &'a str,
    /// The only answer that agrees.
    pub(super) answer: &'a str,
    /// The failure where anything else is typed.
    pub(super) declined: Failure,
    /// Why, then.
    pub(super) wrong: String,
    /// What to do where there is no terminal.
    pub(super) otherwise: &'a str,
}

impl Name<'_> {
    /// Asks for it.
    pub(super) async fn typed(self, ask: &dyn Ask) -> Result<()> {
        match ask.line(self.question, "").await? {
            None => Err(self
                .declined
                .because("there is no terminal to ask on")
                .hint(self.otherwise)),
            Some(typed) if typed == self.answer => Ok(()),
            Some(_) => Err(self.declined.because(self.wrong)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::testing::{Nobody, Scripted};

    #[tokio::test]
    async fn only_the_name_itself_agrees() {
        let name = || Name {
            question: "Type it",
            answer: "home",
            declined: Failure::new(Code::Declined, "nothing was removed"),
            wrong: "that is not its name".into(),
            otherwise: "run again with --yes",
        };
        let typed = name().typed(&Scripted::new(["home"])).await;
        assert_eq!(typed, Ok(()));
        for other in ["", "y", "hom", "Home"] {
            let failure = name().typed(&Scripted::new([other])).await.unwrap_err();
            assert_eq!(failure.code, Code::Declined, "{other}");
            assert_eq!(failure.cause.as_deref(), Some("that is not its name"));
        }
        let failure = name().typed(&Nobody).await.unwrap_err();
        assert_eq!(failure.hint.as_deref(), Some("run again with --yes"));
    }
}
