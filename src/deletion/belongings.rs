//! A daemon's unit, bridge, directory and console logs. A name proves nothing: `k3s-agents-1` is the manual's own. They are ours where
//! our directory or a unit that works there is on the host, and no other daemon serves the group.

use super::DeletablePath;

/// What a host shows of a daemon that is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Our directory for it is there; for a group that another group's daemon served, our directory for the cluster.
    pub directory: bool,
    /// Where the unit of its name works, where there is one; empty where it says nothing.
    pub unit: Option<String>,
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
            return if seen.directory {
                Self::Directory
            } else {
                Self::None
            };
        }
        if seen.directory || seen.adopted || unit_is(true) {
            Self::All
        } else {
            Self::None
        }
    }

    /// The unit's file, where it may be removed: a person's (`kept`) stays.
    pub fn unit_file(self, path: &str, kept: bool) -> Option<DeletablePath> {
        (self == Self::All && !kept).then(|| DeletablePath::unit(path))
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
            (elsewhere(unit(WORKS)), Belongings::None),
            (elsewhere(adopted), Belongings::None),
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

    #[test]
    fn a_persons_unit_stays() {
        let path = "/etc/systemd/system/slicer-a.service";
        assert!(Belongings::All.unit_file(path, false).is_some());
        assert_eq!(Belongings::All.unit_file(path, true), None);
        assert_eq!(Belongings::Directory.unit_file(path, false), None);
    }
}
