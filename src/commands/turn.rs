//! The right to act on a cluster: nobody else does, from this workstation or another. Whoever only looks needs none.

use crate::config::Config;
use crate::failure::{Code, Failure, Result};
use crate::fleet::{self, ClusterLock, Fleet};
use crate::report::escape;
use crate::state::{Lock, State};

/// Ours until it is dropped.
pub(super) struct Turn {
    _here: Lock,
    there: ClusterLock,
}

impl Turn {
    /// Takes the cluster's lock for `command`, where this workstation's is ours already. Refused where somebody else
    /// changed the cluster since: what `state` does not know it would take away.
    pub(super) async fn take(
        here: Lock,
        fleet: &Fleet,
        config: &Config,
        command: &str,
        state: &State,
    ) -> Result<Self> {
        let (turn, marks) = tokio::join!(
            Self::take_over(here, fleet, config, command),
            fleet::marks(fleet, &config.name)
        );
        let turn = turn?;
        // What a newer release wrote there, or nobody can read, is not ours to replace.
        marks?;
        match news(state, turn.there.noted()) {
            Some(failure) => Err(failure),
            None => Ok(turn),
        }
    }

    /// The same for whoever goes by what the hosts tell, not by what is recorded here.
    pub(super) async fn take_over(
        here: Lock,
        fleet: &Fleet,
        config: &Config,
        command: &str,
    ) -> Result<Self> {
        Ok(Self {
            _here: here,
            there: ClusterLock::take(fleet, config, command).await?,
        })
    }

    /// Tells whoever is next what is decided now.
    pub(super) fn note(&self, state: &State) {
        let fingerprint = state.decisions.fingerprint();
        self.there
            .note(format!("{fingerprint} {}", self.there.me()));
    }

    /// Tells whoever is next that there is nothing to know.
    pub(super) fn forget(&self) {
        self.there.note("-".to_owned());
    }

    /// Does `work` as long as it is our turn.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        self.there.during(work).await
    }
}

/// What somebody else noted and nobody knows here.
pub(super) fn news(state: &State, noted: &str) -> Option<Failure> {
    let (fingerprint, who) = noted.split_once(' ')?;
    if state.decisions.groups.is_empty() || state.knows(fingerprint) {
        return None;
    }
    Some(
        Failure::new(
            Code::PlanConflict,
            format!("{} was changed from elsewhere", state.cluster),
        )
        .because(format!(
            "{} acted last, on hosts or groups that are not on record here",
            escape(who)
        ))
        .hint("put that person's cluster.toml in the place of yours; then slicer-k3s import --force gets the rest from the hosts"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Decisions;
    use crate::steps::testing::plan;

    /// An older state would take away what it does not know; a newer one, or that of a killed run, would not.
    #[test]
    fn only_what_was_never_known_here_is_news() {
        let mut state = State::create("home").unwrap();
        let all = plan().decisions(&Decisions::default());
        let less = all.without("ryzen", false);
        let note = |decisions: &Decisions| format!("{} you@there", decisions.fingerprint());
        assert!(news(&state, &note(&all)).is_none(), "a new cluster");
        state.decide(less.clone());
        for (noted, told) in [
            (note(&all), true),
            (note(&less), false),
            ("-".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(news(&state, &noted).is_some(), told, "{noted}");
        }
        let failure = news(&state, &note(&all)).unwrap();
        assert!(failure.to_string().contains("you@there"), "{failure}");
        state.decide(all.clone());
        state.decide(less);
        assert!(news(&state, &note(&all)).is_none(), "known once");
    }
}
