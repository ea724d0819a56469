//! One question to the person, where there is one.

use std::io::{IsTerminal as _, Write as _};

use crate::failure::{Code, Failure, Result};

/// Asks once on a terminal; without one, only `yes` will do. `instead` is what to do where the answer is no.
pub(super) fn consent(yes: bool, instead: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    let declined = Failure::new(Code::Declined, "nothing was changed");
    match line("Make it so? [y/N]").as_deref() {
        None => Err(declined
            .because("there is no terminal to ask on")
            .hint("read the text above and run again with --yes")),
        Some("y" | "Y" | "yes") => Ok(()),
        Some(_) => Err(declined.hint(instead)),
    }
}

/// The answer, without blanks around it; `None` where there is no terminal to ask on.
pub(super) fn line(question: &str) -> Option<String> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return None;
    }
    let _ = write!(std::io::stderr(), "{question} ");
    let mut answer = String::new();
    // A terminal that hangs up has answered nothing.
    let _ = std::io::stdin().read_line(&mut answer);
    Some(answer.trim().to_owned())
}
