//! Which of several join tokens is the one in use or about to be, where a rotation did not end.
//!
//! The wrong one would be taken for done by the servers that still go by it, and none of them could start again: the data are
//! sealed with the other. So it is read off facts, and where they do not say it the import is refused.

use crate::secret::Secret;
use crate::slicer::Process;

/// What one server shows of a token.
#[derive(Clone, Default)]
pub(super) struct Shown {
    /// What its configuration names.
    pub(super) configured: Option<Secret>,
    /// What k3s keeps: it was the one in use at its last start, or k3s has sealed the data with it since.
    pub(super) kept: Option<Secret>,
    /// Whether its running k3s accepts what it keeps.
    pub(super) process: Process,
}

impl Shown {
    fn differs(&self) -> bool {
        matches!((&self.configured, &self.kept), (Some(a), Some(b)) if a != b)
    }

    /// What the running k3s was started with, as far as that shows.
    fn in_use(&self) -> Option<&Secret> {
        match self.process {
            Process::Accepts => self.kept.as_ref(),
            Process::Refuses => self.configured.as_ref().filter(|_| self.differs()),
            Process::Unknown | Process::LockedOut => None,
        }
    }
}

/// The tokens of a cluster.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// In use, or about to be.
    pub(super) token: Secret,
    /// Another one that may still be in use.
    pub(super) before: Option<Secret>,
}

/// Why none was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The last run has noted a token that no server shows, and a server that may have it was not seen.
    NotedElsewhere,
    /// There are several, and nothing says which one replaces the other.
    Several,
}

/// Chooses among what the servers show, the first server first; `None` where no token was found. `noted` is the hash that the
/// last run has noted; `whole` says that every server of the cluster was seen.
pub(super) fn choose(
    shown: &[Shown],
    noted: Option<&str>,
    whole: bool,
) -> Result<Option<Chosen>, Doubt> {
    let configured = shown.iter().filter_map(|shown| shown.configured.as_ref());
    let kept = shown.iter().filter_map(|shown| shown.kept.as_ref());
    let in_use = shown.iter().filter_map(Shown::in_use);
    let mut tokens: Vec<&Secret> = Vec::new();
    for token in in_use.chain(kept).chain(configured) {
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    let named = tokens.iter().find(|token| noted == Some(&token.sha256()));
    // Where every server was seen, it was noted and never used: the rest of that run may still bring it into use.
    if noted.is_some() && named.is_none() && !whole {
        return Err(Doubt::NotedElsewhere);
    }
    let token = match tokens.as_slice() {
        [] => return Ok(None),
        [only] => *only,
        _ => {
            let sealed = one(shown.iter().filter_map(|shown| sealed(shown, &tokens)))?;
            match sealed.or(named.copied()) {
                Some(token) => token,
                None => one(shown.iter().filter_map(next))?.ok_or(Doubt::Several)?,
            }
        }
    };
    let before = tokens.iter().find(|other| **other != token);
    Ok(Some(Chosen {
        token: token.clone(),
        before: before.map(|before| (*before).clone()),
    }))
}

/// What the data are sealed with, where this server shows that, whatever was noted.
fn sealed<'s>(shown: &'s Shown, tokens: &[&'s Secret]) -> Option<&'s Secret> {
    match (shown.process, tokens) {
        // It writes down the one that it was started with, so this one came later: by a request to seal the data with it.
        (Process::Refuses, _) => shown.kept.as_ref(),
        (Process::LockedOut, [a, b]) => {
            let configured = shown.configured.as_ref()?;
            [a, b]
                .into_iter()
                .find(|other| **other != configured)
                .copied()
        }
        _ => None,
    }
}

/// What it is to be restarted with, where its configuration was changed since its last start. Of a server that does not run it
/// may as well be what it keeps that came later.
fn next(shown: &Shown) -> Option<&Secret> {
    let runs = shown.process == Process::Accepts;
    let configured = shown.configured.as_ref();
    configured.filter(|_| shown.differs() && runs)
}

/// The one that all of them are; `None` where there is none.
fn one<'s>(mut tokens: impl Iterator<Item = &'s Secret>) -> Result<Option<&'s Secret>, Doubt> {
    let first = tokens.next();
    if tokens.all(|token| Some(token) == first) {
        Ok(first)
    } else {
        Err(Doubt::Several)
    }
}

#[cfg(test)]
mod tests {
    use Process::{Accepts, LockedOut, Refuses, Unknown};

    use super::*;

    fn shown(configured: &str, kept: &str, process: Process) -> Shown {
        let some = |text: &str| (!text.is_empty()).then(|| Secret::new(text));
        Shown {
            configured: some(configured),
            kept: some(kept),
            process,
        }
    }

    fn chosen(
        shown: &[Shown],
        noted: Option<&str>,
        whole: bool,
    ) -> Result<(String, String), Doubt> {
        let noted = noted.map(|token| Secret::new(token).sha256());
        let chosen = choose(shown, noted.as_deref(), whole)?.unwrap();
        let before = chosen.before.map(|before| before.expose().to_owned());
        Ok((chosen.token.expose().to_owned(), before.unwrap_or_default()))
    }

    fn new() -> (String, String) {
        ("new".into(), "old".into())
    }

    /// A rotation of an earlier release that sealed the data and noted nothing: every file and process has the old token.
    #[test]
    fn what_the_data_were_sealed_with_since_the_start_is_the_new_token() {
        let servers = [shown("old", "new", Refuses), shown("old", "old", Accepts)];
        for noted in [None, Some("old"), Some("new")] {
            assert_eq!(chosen(&servers, noted, true), Ok(new()), "{noted:?}");
        }
        // That server has been locked out since, and k3s says so.
        let servers = [shown("old", "new", LockedOut), shown("old", "old", Accepts)];
        assert_eq!(chosen(&servers, None, true), Ok(new()));
    }

    #[test]
    fn a_configuration_that_was_changed_since_the_start_names_the_new_token() {
        // All files are written, no server has restarted; then the first one has.
        for first in [shown("new", "new", Refuses), shown("new", "new", Accepts)] {
            let servers = [first, shown("new", "old", Accepts)];
            assert_eq!(chosen(&servers, None, true), Ok(new()));
        }
        // Without the server that has sealed the data.
        let servers = [shown("new", "old", Accepts), shown("old", "old", Accepts)];
        assert_eq!(chosen(&servers, None, false), Ok(new()));
    }

    /// The first server's configuration says nothing of which came first.
    #[test]
    fn several_tokens_that_nothing_tells_apart_are_refused() {
        for servers in [
            [shown("old", "old", Accepts), shown("new", "new", Accepts)],
            [shown("a", "b", Refuses), shown("b", "a", Refuses)],
            // One that is down: it may have sealed the data with what it keeps, or have missed that another did.
            [shown("a", "b", Unknown), shown("a", "a", Accepts)],
        ] {
            assert_eq!(chosen(&servers, None, true), Err(Doubt::Several));
        }
        let servers = [shown("old", "old", Accepts), shown("new", "new", Accepts)];
        assert_eq!(chosen(&servers, Some("new"), true), Ok(new()));
    }

    /// An import without the server that has it would note the old token as the current one.
    #[test]
    fn a_noted_token_that_no_server_shows_is_not_ignored() {
        let servers = [shown("old", "old", Accepts)];
        assert_eq!(
            chosen(&servers, Some("new"), false),
            Err(Doubt::NotedElsewhere)
        );
        assert_eq!(choose(&[], Some("x"), false), Err(Doubt::NotedElsewhere));
        // Noted by a run that was killed before it used it: with every server seen, that is certain.
        let only = Ok(("old".to_owned(), String::new()));
        assert_eq!(chosen(&servers, Some("new"), true), only);
        assert_eq!(choose(&[], None, true), Ok(None));
    }
}
