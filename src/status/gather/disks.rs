//! How full the servers' disks are: a kubelet says so late, and etcd stops at the end of one.

use futures_util::future::join_all;

use super::{Waiting, answer};
use crate::names::k3s::SERVER_DIRECTORY;
use crate::remote::Probe;
use crate::world::World;

/// A file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What it holds at most.
    pub size: u64,
    /// What is free for programs that are not root's, as `df` counts.
    pub free: u64,
}

impl Disk {
    /// Of a line of `df -Pk`: device, size, used, available, capacity, mount.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let kilobytes = |word: Option<&str>| word?.parse::<u64>().ok()?.checked_mul(1024);
        let size = kilobytes(words.next())?;
        let free = kilobytes(words.nth(1))?;
        Some(Self { size, free })
    }
}

/// The disks of the servers that answer: what does not is reported by other means.
pub(super) async fn disks(world: &World, waiting: &Waiting) -> Vec<(String, Disk)> {
    let asked = world.plan.servers.iter().map(|server| async {
        let output = answer(waiting, &server.name, async {
            let probe = Probe::DiskFree(SERVER_DIRECTORY.to_owned());
            world.server(server).await?.probe(&probe).await
        });
        let output = output.await.ok()?;
        Some((server.name.clone(), Disk::parse(&output.stdout)?))
    });
    let disks = join_all(asked.collect::<Vec<_>>()).await;
    disks.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    #[test]
    fn a_disk_is_read_as_df_prints_it() {
        let line = "/dev/vda1  25000000 20000000 5000000  80% /\n";
        let disk = Disk {
            size: 25_600_000_000,
            free: 5_120_000_000,
        };
        assert_eq!(Disk::parse(line), Some(disk));
        for none in [
            "",
            "df: /x: No such file",
            "/dev/vda1 x 1 2",
            "/dev/vda1 1 2",
        ] {
            assert_eq!(Disk::parse(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn servers_that_say_nothing_are_left_out() {
        let one = Fake::new().says("df -Pk", "/dev/vda1 1000 900 100 90% /\n");
        let world = world(&[("k3s-cp-1", &one), ("k3s-cp-2", &Fake::new())]);
        let disks = disks(&world, &Waiting::default()).await;
        let names: Vec<&str> = disks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["k3s-cp-1"]);
    }
}
