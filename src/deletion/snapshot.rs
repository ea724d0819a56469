//! Which snapshot of etcd counts as the last one before everything goes: that of this run. An earlier run's may be old; it counts
//! only where none can be taken any more and an earlier run has begun to remove the servers.

/// Which snapshot there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// This run's.
    Taken,
    /// An earlier run's, and there will be no other.
    Earlier,
    /// It is still to be taken.
    Missing,
}

/// What is known of snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an observation of its own"
)]
pub struct Known {
    /// This run's file is there.
    pub own: bool,
    /// An earlier run's file is there.
    pub earlier: bool,
    /// This run tried to take one, and could not.
    pub failed: bool,
    /// A daemon of servers is gone, or will not start again by itself: `init` starts and enables all of them.
    pub begun: bool,
}

/// Which snapshot is the last one.
pub fn last_snapshot(known: Known) -> Snapshot {
    match known {
        Known { own: true, .. } => Snapshot::Taken,
        Known {
            earlier: true,
            failed: true,
            begun: true,
            ..
        } => Snapshot::Earlier,
        _ => Snapshot::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster that was made again after a stopped `destroy` was archived with a snapshot of a month before.
    #[test]
    fn an_earlier_runs_snapshot_counts_only_where_no_other_can_be_taken() {
        let earlier = Known {
            earlier: true,
            ..Known::default()
        };
        for (known, is) in [
            (Known::default(), Snapshot::Missing),
            (
                Known {
                    own: true,
                    ..earlier
                },
                Snapshot::Taken,
            ),
            (earlier, Snapshot::Missing),
            (
                Known {
                    begun: true,
                    ..earlier
                },
                Snapshot::Missing,
            ),
            (
                Known {
                    failed: true,
                    ..earlier
                },
                Snapshot::Missing,
            ),
            (
                Known {
                    failed: true,
                    begun: true,
                    ..earlier
                },
                Snapshot::Earlier,
            ),
            (
                Known {
                    failed: true,
                    begun: true,
                    ..Known::default()
                },
                Snapshot::Missing,
            ),
        ] {
            assert_eq!(last_snapshot(known), is, "{known:?}");
        }
    }
}
