//! What steps of this run saw and later ones build on: which groups are fit for the autoscaler, whose host key is whose.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// Shared by the steps of one run.
#[derive(Default)]
pub(crate) struct RunContext {
    reachable: Mutex<BTreeSet<String>>,
    has_join_token: Mutex<BTreeSet<String>>,
    will_get_join_token: Mutex<BTreeSet<String>>,
    host_keys: Mutex<HashMap<String, String>>,
}

impl RunContext {
    /// The group's API answered from every server.
    pub(crate) fn reachable(&self, group: &str) {
        lock(&self.reachable).insert(group.to_owned());
    }

    /// The group's daemon holds the current join token.
    pub(crate) fn has_join_token(&self, group: &str) {
        lock(&self.has_join_token).insert(group.to_owned());
    }

    /// The group's daemon is to get the join token: a run that only looks comes no further.
    pub(crate) fn will_get_join_token(&self, group: &str) {
        lock(&self.will_get_join_token).insert(group.to_owned());
    }

    /// It is being given: from now on only [`RunContext::has_join_token`] tells whether it has it.
    pub(crate) fn join_token_in_flight(&self, group: &str) {
        lock(&self.will_get_join_token).remove(group);
    }

    /// Whether the autoscaler may have the group.
    pub(crate) fn eligible_for_autoscaler(&self, group: &str) -> bool {
        let has_join_token = lock(&self.has_join_token).contains(group)
            || lock(&self.will_get_join_token).contains(group);
        lock(&self.reachable).contains(group) && has_join_token
    }

    /// Notes whose host key this is; another VM that has the same one, if any.
    pub(crate) fn claim_host_key(&self, key: &str, vm: &str) -> Option<String> {
        let mut keys = lock(&self.host_keys);
        let owner = keys.entry(key.to_owned()).or_insert_with(|| vm.to_owned());
        (owner != vm).then(|| owner.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Plain data: a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_fit_when_it_is_reachable_and_armed() {
        let seen = RunContext::default();
        seen.reachable("a");
        assert!(!seen.eligible_for_autoscaler("a"));
        seen.has_join_token("a");
        assert!(seen.eligible_for_autoscaler("a"));
    }

    /// A look tells what would be written; a run writes only what it saw done.
    #[test]
    fn a_group_that_is_to_be_armed_counts_until_that_is_tried() {
        let seen = RunContext::default();
        seen.reachable("a");
        seen.will_get_join_token("a");
        assert!(seen.eligible_for_autoscaler("a"));
        seen.join_token_in_flight("a");
        assert!(!seen.eligible_for_autoscaler("a"));
    }

    #[test]
    fn one_key_belongs_to_one_vm() {
        let seen = RunContext::default();
        assert_eq!(seen.claim_host_key("k", "cp-1"), None);
        assert_eq!(seen.claim_host_key("k", "cp-1"), None);
        assert_eq!(seen.claim_host_key("k", "cp-2"), Some("cp-1".into()));
    }
}
