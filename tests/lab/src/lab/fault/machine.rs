//! Faults of a machine itself: its disk, its clock, its life.

use anyhow::{Result, bail};

use super::files::check;
use super::{Fault, Undo, on};
use crate::machine::{host_of, keeper_of};
use crate::state::{Role, State};

/// Where people, Slicer and k3s write.
const WRITTEN: [&str; 7] = [
    "/etc",
    "/home",
    "/root",
    "/opt",
    "/var",
    "/var/lib/rancher",
    "/lab/data",
];
/// Lays an overlay with a full upper layer over each directory: what is there can be
/// read, nothing can be written, and `df` says 100 %. The machine's real disk is the
/// developer's own, so filling that is out of the question.
const FILL: &str = r#"
set -e
top=/run/slicer-lab-full
mkdir "$top"
mount -t tmpfs -o size=64k tmpfs "$top"
number=0
for path in "$@"; do
    [ -d "$path" ] || continue
    number=$((number + 1))
    mkdir -p "$top/$number/lower" "$top/$number/upper" "$top/$number/work"
    mount --bind "$path" "$top/$number/lower"
    echo "$path" >"$top/$number/path"
done
cat /dev/zero >"$top/filling" 2>/dev/null || :
for layer in $(seq "$number"); do
    mount -t overlay -o "lowerdir=$top/$layer/lower,upperdir=$top/$layer/upper,workdir=$top/$layer/work" \
        full "$(cat "$top/$layer/path")"
done"#;
const EMPTY: &str = r#"
top=/run/slicer-lab-full
for layer in $(ls "$top" | grep -x '[0-9]*' | sort -rn); do umount -l "$(cat "$top/$layer/path")"; done
for layer in $(ls "$top" | grep -x '[0-9]*'); do umount -l "$top/$layer/lower"; done
umount -l "$top" && rmdir "$top""#;
const DATE: &str = "/usr/local/bin/date";

/// Nothing can be written any more.
pub(super) fn disk_full(fleet: &State, machine: &str, paths: &[String]) -> Result<Fault> {
    let mut words = vec!["sh", "-c", FILL, "fill"];
    if paths.is_empty() {
        words.extend(WRITTEN);
    } else {
        words.extend(paths.iter().map(String::as_str));
    }
    on(fleet, machine, &words)?;
    let undo = vec![Undo::Run(["sh", "-c", EMPTY].map(str::to_owned).to_vec())];
    Ok(Fault {
        what: "its disk is full".to_owned(),
        machine: machine.to_owned(),
        undo,
    })
}

/// `date` is wrong by so many seconds.
pub(super) fn date(fleet: &State, machine: &str, seconds: i64) -> Result<Fault> {
    let wrapper = format!(
        "printf '%s\\n' '#!/bin/sh' 'exec /bin/date -d \"@$(($(/bin/date +%s) + {seconds}))\" \"$@\"' >{DATE} && chmod 0755 {DATE}"
    );
    on(fleet, machine, &["sh", "-c", &wrapper])?;
    let undo = vec![Undo::Run(["rm", "-f", DATE].map(str::to_owned).to_vec())];
    let what = format!("its date is wrong by {seconds} s");
    Ok(Fault {
        what,
        machine: machine.to_owned(),
        undo,
    })
}

/// A VM is gone from one moment to the next; with it the etcd member it carries.
pub(super) fn vm_dies(fleet: &State, vm: &str) -> Result<()> {
    let Some(host) = host_of(fleet, vm) else {
        bail!(
            "fleet {} has no VM called {}: see `cargo lab status`",
            fleet.name,
            vm.escape_default()
        );
    };
    let kill = "kill -KILL \"$(cat \"/lab/data/vms/$1/leader.pid\")\"";
    on(fleet, &host.name, &["sh", "-c", kill, "kill", vm]).map(drop)
}

/// The disk first, so that whatever boots the VM once it is dead finds none; then the VM, where it runs. The layers are
/// put aside while they are in use and removed when the daemon has unmounted them.
const LOSE: &str = r#"
set -e
cd "/lab/data/vms/$1"
mounted() { grep -q " $(pwd)/root " /proc/self/mounts; }
images=$(find / -xdev -name "$1.img" 2>/dev/null) || :
[ -n "$images" ] || { echo "$1 has no disk image on this host" >&2; exit 1; }
lost="../.lost-$1-$$"
mkdir "$lost"
rm -f $images prepared
for layer in upper overlay rancher kubelet containerd; do
    [ ! -e "$layer" ] || mv "$layer" "$lost/"
done
# The number of one that does not run may be another process's by now.
if mounted; then kill -KILL "$(cat leader.pid)" 2>/dev/null || :; fi
waited=0
while mounted; do
    waited=$((waited + 1))
    [ "$waited" -lt 300 ] || { echo "no Slicer daemon on this host cleared $1 away" >&2; exit 1; }
    sleep 0.1
done
# Gone from the table of mounts it still takes a moment until the daemon lists the VM as stopped.
sleep 1
rm -rf "$lost""#;

/// A VM is gone with its disk. Also one that does not run.
pub(super) fn disk_lost(fleet: &State, vm: &str) -> Result<()> {
    check(vm)?;
    let Some(host) = keeper_of(fleet, vm) else {
        bail!(
            "no host of fleet {} has a disk of a VM called {}: see `cargo lab status`",
            fleet.name,
            vm.escape_default()
        );
    };
    on(fleet, &host.name, &["sh", "-c", LOSE, "lose", vm]).map(drop)
}

/// A host starts over; a VM does what its Slicer lets it do on a reboot from within.
pub(super) fn reboot(fleet: &State, machine: &str) -> Result<()> {
    if fleet
        .machine(machine)
        .is_some_and(|machine| machine.role == Role::Internet)
    {
        bail!("the Internet cannot be rebooted");
    }
    on(fleet, machine, &["systemctl", "reboot"]).map(drop)
}
