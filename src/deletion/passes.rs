//! VMs and Nodes of a group, where no person named the group, its host or the cluster: two complete lists apart in time, and at
//! most half the group a pass. An answer that is wrong for a moment deletes nothing, and one that stays wrong not all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// What is deleted was in two complete lists at least this far apart.
pub const APART: Duration = Duration::from_secs(10);

/// How many of a group's VMs or Nodes one pass deletes at most.
pub fn most(group: usize) -> usize {
    (group / 2).max(1)
}

/// Since when each of a group's VMs or Nodes is one that would go, list after list without a break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings(BTreeMap<String, Instant>);

impl Sightings {
    /// Takes note of a complete list of this moment: these would go. One that is not among them any more begins again.
    pub fn see(&mut self, at: Instant, names: &BTreeSet<String>) {
        self.0.retain(|name, _| names.contains(name));
        for name in names {
            self.0.entry(name.clone()).or_insert(at);
        }
    }

    /// What the list of this moment confirms, at most as much as one pass deletes of a group of this size.
    pub fn confirmed(&self, at: Instant, group: usize) -> BTreeSet<String> {
        let long_ago = |since: &Instant| at.saturating_duration_since(*since) >= APART;
        let ripe = self.0.iter().filter(|(_, since)| long_ago(since));
        ripe.take(most(group))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// A pass is over: what it left is confirmed by two lists of the next one.
    pub fn next_pass(&mut self, at: Instant) {
        for since in self.0.values_mut() {
            *since = at;
        }
    }

    /// How long it takes until a list can confirm something; `None` where nothing would go.
    pub fn wait(&self, at: Instant) -> Option<Duration> {
        let waits = self.0.values().map(|since| {
            let seen = at.saturating_duration_since(*since);
            APART.saturating_sub(seen)
        });
        waits.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn one_list_deletes_nothing_and_neither_do_two_of_one_moment() {
        let mut seen = Sightings::default();
        let begin = Instant::now();
        seen.see(begin, &names(&["a"]));
        assert!(seen.confirmed(begin, 1).is_empty());
        let soon = begin + APART / 2;
        seen.see(soon, &names(&["a"]));
        assert!(seen.confirmed(soon, 1).is_empty());
        assert_eq!(seen.wait(soon), Some(APART / 2));
        let later = begin + APART;
        seen.see(later, &names(&["a", "new"]));
        assert_eq!(seen.confirmed(later, 9), names(&["a"]));
    }

    #[test]
    fn what_one_list_in_between_does_not_have_begins_again() {
        let mut seen = Sightings::default();
        let begin = Instant::now();
        seen.see(begin, &names(&["a"]));
        seen.see(begin + APART, &names(&[]));
        let later = begin + APART * 2;
        seen.see(later, &names(&["a"]));
        assert!(seen.confirmed(later, 9).is_empty());
    }

    /// A daemon that answers `[]` for a while would have cost a whole group.
    #[test]
    fn a_pass_takes_half_and_the_next_has_lists_of_its_own() {
        for (group, at_most) in [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (9, 4)] {
            assert_eq!(most(group), at_most, "{group}");
        }
        let mut seen = Sightings::default();
        let begin = Instant::now();
        let all = names(&["a", "b", "c", "d"]);
        seen.see(begin, &all);
        let second = begin + APART;
        seen.see(second, &all);
        assert_eq!(seen.confirmed(second, 4), names(&["a", "b"]));
        seen.next_pass(second);
        seen.see(second, &names(&["c", "d"]));
        assert!(seen.confirmed(second, 2).is_empty());
        let third = second + APART;
        seen.see(third, &names(&["c", "d"]));
        assert_eq!(seen.confirmed(third, 2), names(&["c"]));
    }
}
