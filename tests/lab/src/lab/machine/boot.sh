#!/bin/sh
# Boots one machine, in the foreground, for as long as it lives. Called inside a
# mount namespace of its own, so that whatever it mounts vanishes with it.
# usage: boot.sh NAME DIRECTORY LOWER CGROUP NSPAWN-ARGUMENT…
set -eu
name=$1 directory=$2 lower=$3 cgroup=$4
shift 4

# Moves whoever calls it into a cgroup of every hierarchy.
join() {
    for procs in "/sys/fs/cgroup/$1/cgroup.procs" /sys/fs/cgroup/*/"$1/cgroup.procs"; do
        [ ! -e "$procs" ] || echo 0 >"$procs"
    done
}
join "$cgroup/around"

mount -t overlay -o "lowerdir=$lower,upperdir=$directory/upper,workdir=$directory/work" overlay "$directory/root"
# Accounts and keys are made once, with the machine's own tools.
if [ -e "$directory/setup.sh" ]; then
    chroot "$directory/root" /bin/sh -eu <"$directory/setup.sh"
    rm "$directory/setup.sh"
fi
# nspawn leaves its traces here; let them vanish as well.
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn

# /proc/sys/net is the machine's own and CNI plugins must write it.
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
while :; do
    code=0
    # A cgroup of its own in every hierarchy: nspawn shows the machine nothing above it.
    # Nobody else may be in it, or v2 hands no controllers down.
    (join "$cgroup/machine" && exec systemd-nspawn --quiet --directory="$directory/root" --machine="$name" --boot \
        --register=no --keep-unit --resolv-conf=off --timezone=off --link-journal=no --console=passive \
        --capability=all --system-call-filter=@known --bind=/dev/kmsg --bind=/dev/fuse "$@") || code=$?
    # So nspawn says that the machine asked for a reboot.
    [ "$code" -eq 133 ] || exit "$code"
done
