//! A daemon's unit, bridge, directory and console logs. A name proves nothing: `k3s-agents-1` is the manual's own. They are ours where
//! our directory or a unit that works there is on the host, and no other daemon serves the group. What works in our directory is ours
//! whoever else has the name: it is stopped before the directory goes.

use super::DeletablePath;

/// Whether two paths are one directory as they are written, with or without a `/` at the end.
pub fn is_same_directory(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// What a host shows of a daemon that is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an observation of its own"
)]
pub struct Seen {
    /// Our directory for it is there; for a group that another group's daemon served, our directory for the cluster.
    pub directory: bool,
    /// Where the unit of its name works, where there is one; empty where it says nothing.
    pub unit: Option<String>,
    /// Processes of it run in the directory and by the YAML that were handed over.
    pub runs: bool,
    /// A person set it up and handed it over.
    pub adopted: bool,
    /// Another daemon on the host, in another directory, serves a group of this name.
    pub served_elsewhere: bool,
}

/// What of it may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongings {
    /// Unit, bridge, directory and logs.
    All,
    /// Processes, unit and directory: another daemon's bridge and logs have the same names.
    Daemon,
    /// Processes and directory: bridge, logs and the unit of its name are someone else's.
    Processes,
    /// Our directory only: what has its name otherwise is someone else's.
    Directory,
    /// Nothing of ours is there, whatever has its name.
    None,
}

impl Belongings {
    /// Judges what was seen of a daemon whose unit works in `works`.
    pub fn of(seen: &Seen, works: &str) -> Self {
        let unit_is = |ours: bool| seen.unit.as_ref().is_some_and(|it| (it == works) == ours);
        if seen.served_elsewhere || unit_is(false) {
            return match seen {
                _ if unit_is(true) => Self::Daemon,
                Seen { runs: true, .. } => Self::Processes,
                Seen {
                    directory: true, ..
                } => Self::Directory,
                _ => Self::None,
            };
        }
        if seen.directory || seen.adopted || unit_is(true) {
            Self::All
        } else {
            Self::None
        }
    }

    /// Whether the unit of its name is its.
    pub fn has_unit(self) -> bool {
        matches!(self, Self::All | Self::Daemon)
    }

    /// Whether it is stopped, where it runs.
    pub fn stops(self) -> bool {
        self.has_unit() || self == Self::Processes
    }

    /// The unit's file, where it may be removed: a person's (`kept`) stays.
    pub fn unit_file(self, path: &str, kept: bool) -> Option<DeletablePath> {
        (self.has_unit() && !kept).then(|| DeletablePath::unit(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKS: &str = "/var/lib/slicer-k3s/home/k3s-agents-1";

    /// A group that was decided and never installed, beside a daemon in tmux of the manual's name: its VMs lost their network.
    #[test]
    fn bridge_and_logs_go_only_with_a_directory_or_unit_of_ours() {
        let nothing = Seen::default();
        let directory = Seen {
            directory: true,
            ..Seen::default()
        };
        let unit = |works: &str| Seen {
            unit: Some(works.to_owned()),
            ..Seen::default()
        };
        let adopted = Seen {
            adopted: true,
            ..Seen::default()
        };
        let elsewhere = |seen: Seen| Seen {
            served_elsewhere: true,
            ..seen
        };
        for (seen, is) in [
            (nothing.clone(), Belongings::None),
            (directory.clone(), Belongings::All),
            (unit(WORKS), Belongings::All),
            (unit("/root/mine"), Belongings::None),
            (unit(""), Belongings::None),
            (adopted.clone(), Belongings::All),
            (elsewhere(nothing), Belongings::None),
            (elsewhere(directory.clone()), Belongings::Directory),
            (elsewhere(adopted.clone()), Belongings::None),
            (
                Seen {
                    directory: true,
                    ..unit("/root/mine")
                },
                Belongings::Directory,
            ),
        ] {
            assert_eq!(Belongings::of(&seen, WORKS), is, "{seen:?}");
        }
    }

    /// A namesake that came later, and our directory went under running VMs: their unit was taken for its.
    #[test]
    fn what_works_in_our_directory_is_stopped_whoever_else_has_its_name() {
        let beside = |directory: bool, unit: Option<&str>, runs: bool| Seen {
            directory,
            unit: unit.map(str::to_owned),
            runs,
            adopted: runs,
            served_elsewhere: true,
        };
        let alone = |seen: Seen| Seen {
            served_elsewhere: false,
            ..seen
        };
        let by_hand = beside(true, None, true);
        let under_a_name = beside(false, Some("/root/mine"), true);
        for (seen, is) in [
            (beside(true, Some(WORKS), false), Belongings::Daemon),
            (beside(false, Some(WORKS), false), Belongings::Daemon),
            (beside(true, Some(WORKS), true), Belongings::Daemon),
            (by_hand.clone(), Belongings::Processes),
            (alone(by_hand), Belongings::All),
            (under_a_name.clone(), Belongings::Processes),
            (alone(under_a_name), Belongings::Processes),
        ] {
            let belongings = Belongings::of(&seen, WORKS);
            assert_eq!(belongings, is, "{seen:?}");
            assert!(belongings.stops(), "{seen:?}");
        }
        for belongings in [Belongings::Directory, Belongings::None] {
            assert!(!belongings.stops() && !belongings.has_unit());
        }
    }

    #[test]
    fn a_persons_unit_stays() {
        let path = "/etc/systemd/system/slicer-a.service";
        assert!(Belongings::All.unit_file(path, false).is_some());
        assert_eq!(Belongings::All.unit_file(path, true), None);
        assert!(Belongings::Daemon.unit_file(path, false).is_some());
        assert_eq!(Belongings::Processes.unit_file(path, false), None);
        assert_eq!(Belongings::Directory.unit_file(path, false), None);
    }
}
