#!/bin/sh
# The first thing that a lab machine does at every boot, host or VM alike.
set -u

# nspawn shows a machine its own cgroup tree, but read-only: kubelets and
# machines within this one must write there.
for controller in /sys/fs/cgroup /sys/fs/cgroup/*; do
    mountpoint -q "$controller" && mount -o remount,bind,rw "$controller"
done

# A file under over/ is what a reader of the same path in / shall see. Two uses:
# sysctls that are global to the kernel (a kubelet that finds the value it wants
# writes nothing), and the processor and memory that the machine claims to have.
if cd /etc/slicer-lab/over 2>/dev/null; then
    find . -type f | while read -r file; do
        [ -e "/$file" ] && mount --bind "$file" "/$file"
    done
fi
if [ -d /etc/slicer-lab/firmware ]; then
    # Read-only again afterwards: systemd takes a writable /sys for a machine of metal.
    mount -o remount,rw /sys
    mkdir -p /sys/firmware
    mount -o remount,ro /sys
    mount --bind /etc/slicer-lab/firmware /sys/firmware
fi

# The kernel keeps a host's network namespace over its reboot, a real machine
# would not: begin again from nothing.
ip link set lo up
if [ -r /etc/slicer-lab/network ]; then
    # address= and gateway=, written by the lab before the first boot; daemon= says which
    # other program configures eth0, inside= is a router's address on eth1.
    address="" gateway="" daemon="" inside=""
    # shellcheck source=/dev/null
    . /etc/slicer-lab/network
    for link in $(ip -o link show | sed 's/^[0-9]*: \([^:@]*\).*/\1/'); do
        case $link in
        lo | eth0) ;;
        eth1) [ -n "$inside" ] || ip link del eth1 ;;
        *) ip link del "$link" 2>/dev/null ;;
        esac
    done
    nft flush ruleset
    ip addr flush dev eth0
    ip route flush table main 2>/dev/null
    if [ -n "$daemon" ]; then
        ip link set eth0 down
    else
        ip addr add "$address" dev eth0
        ip link set eth0 up
        ip route add default via "$gateway"
    fi
    if [ "$daemon" = networkd ]; then
        # Where /sys is read-only networkd expects no udev, and configures an interface before
        # it has read its routes: it would never drop those of others, as it does on a real
        # machine. Its unit has this copy of /sys, which can be written to, for its own; all
        # others keep theirs. That udev has seen eth0 a file says: there is no udev.
        mkdir -p /run/slicer-lab/sys /run/udev/data
        mount -o remount,rw /sys
        mount --rbind /sys /run/slicer-lab/sys
        mount -o remount,bind,ro /sys
        echo I:1 >"/run/udev/data/n$(cat /sys/class/net/eth0/ifindex)"
    fi
    if [ -n "$inside" ]; then
        ip addr flush dev eth1
        ip addr add "$inside" dev eth1
        ip link set eth1 up
        echo 1 >/proc/sys/net/ipv4/ip_forward
        # What a router at home does: those inside reach everybody, nobody reaches them. Other
        # networks behind them, their VMs', are not its business.
        nft -f - <<EOF
table ip lab-nat {
    chain leaving {
        type nat hook postrouting priority srcnat
        ip saddr $inside oifname eth0 masquerade
    }
    chain passing {
        type filter hook forward priority filter
        iifname eth0 ip daddr $inside ct state new drop
    }
}
EOF
    fi
    # Where the machine that carries the lab has no KVM: only the file is looked at.
    [ -e /dev/kvm ] || : >/dev/kvm
fi
exit 0
