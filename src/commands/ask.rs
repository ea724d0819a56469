//! One question to the person, where there is one.

use std::io::{IsTerminal as _, Write as _};

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
