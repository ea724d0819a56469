//! Servers whose k3s keeps its cluster in SQLite, as it does without `cluster-init` and `server`: no second server can join
//! such a cluster, and no flag gives it up. Pure.
//!
//! Source: k3s-io/k3s@af977adfe pkg/cluster/managed.go `assignManagedDriver` (etcd where it was ever started here, or where
//! `cluster-init`, or `server` with a token, asks for it), `handlerNoEtcd` (`/db/info`: 400); pkg/etcd/etcd.go `newCluster`,
//! `migrateFromSQLite`: the start that founds etcd copies SQLite's content into it and renames `state.db` to
//! `state.db.migrated`; one that joins another server does not.

use super::held::Held;
use super::refusals::{ago, listed};
use crate::failure::{Code, Failure};
use crate::k3s::CONFIG_PATH;
use crate::names::k3s::SERVER_DIRECTORY;

/// Where k3s keeps SQLite's database.
const STATE_DB: &str = "/var/lib/rancher/k3s/server/db/state.db";

/// Why nothing may be changed where some of these servers, by name, keep a cluster in SQLite; `None` where none does.
pub fn in_sqlite<'a>(servers: impl Iterator<Item = (&'a str, &'a Held)>) -> Option<Failure> {
    let found: Vec<(&str, &Held)> = servers.filter(|(_, held)| held.sqlite).collect();
    let names = listed(found.iter().map(|(name, _)| (*name).to_owned()));
    let keep = match found.len() {
        0 => return None,
        1 => format!("{names} keeps a cluster in SQLite"),
        _ => format!("{names} keep a cluster in SQLite each"),
    };
    let states = found.iter().map(|(name, held)| state(name, held));
    Some(
        Failure::new(Code::Sqlite, format!("{keep}, not in etcd"))
            .because(format!(
                "{}; k3s was started there without `cluster-init` and without `server`, and no other server can join that",
                listed(states)
            ))
            .hint(format!(
                "to keep that cluster, as root on {names} (with this in its configuration k3s moves the data into etcd at its \
                 next start):\n\
                 cp -a {SERVER_DIRECTORY} {SERVER_DIRECTORY}.before && mkdir -p /etc/rancher/k3s && printf '\\ncluster-init: true\\n' >>{CONFIG_PATH} && systemctl restart k3s\n\
                 to give it up, as root on {names} (or delete the VM):\n\
                 /usr/local/bin/k3s-uninstall.sh\n\
                 then run again"
            )),
    )
}

/// What one of them has.
fn state(name: &str, held: &Held) -> String {
    let mut about = Vec::new();
    if let Some(bytes) = held.bytes {
        about.push(format!("{} KiB", bytes.div_ceil(1024)));
    }
    if let Some(seconds) = held.written {
        about.push(format!("last written {} ago", ago(seconds)));
    }
    let about = if about.is_empty() {
        String::new()
    } else {
        format!(" ({})", about.join(", "))
    };
    format!("{name} has {STATE_DB}{about}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_what_it_has_and_both_ways_out_are_named() {
        let sqlite = Held {
            sqlite: true,
            written: Some(200),
            bytes: Some(5 << 20),
            ..Held::default()
        };
        let none = Held::default();
        let servers = [("k3s-cp-1", &none), ("k3s-cp-2", &sqlite)];
        let failure = in_sqlite(servers.into_iter()).unwrap();
        assert!(failure.code == Code::Sqlite && failure.is_permanent());
        insta::assert_snapshot!(failure, @"k3s-cp-2 keeps a cluster in SQLite, not in etcd: k3s-cp-2 has /var/lib/rancher/k3s/server/db/state.db (5120 KiB, last written 3 min ago); k3s was started there without `cluster-init` and without `server`, and no other server can join that");
        insta::assert_snapshot!(failure.hint.unwrap(), @r"
        to keep that cluster, as root on k3s-cp-2 (with this in its configuration k3s moves the data into etcd at its next start):
        cp -a /var/lib/rancher/k3s/server /var/lib/rancher/k3s/server.before && mkdir -p /etc/rancher/k3s && printf '\ncluster-init: true\n' >>/etc/rancher/k3s/config.yaml && systemctl restart k3s
        to give it up, as root on k3s-cp-2 (or delete the VM):
        /usr/local/bin/k3s-uninstall.sh
        then run again
        ");
        assert_eq!(in_sqlite([("k3s-cp-1", &none)].into_iter()), None);
    }
}
