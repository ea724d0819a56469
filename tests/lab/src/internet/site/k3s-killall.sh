#!/bin/sh
# Stops k3s and everything it started: pods, mounts, devices, rules. Files stay.
[ "$(id -u)" -eq 0 ] || exec sudo --preserve-env=K3S_DATA_DIR "$0" "$@"
K3S_DATA_DIR=${K3S_DATA_DIR:-/var/lib/rancher/k3s}

for service in /etc/systemd/system/k3s*.service; do
    [ -s "${service}" ] && systemctl stop "$(basename "${service}")"
done

kill_tree() {
    for child in $(ps -o pid= --ppid "$1"); do
        kill_tree "${child}"
    done
    kill -9 "$1" 2>/dev/null
}
for shim in $(pgrep -f "containerd-shim.*(k8s\.io|/run/k3s/|${K3S_DATA_DIR})"); do
    kill_tree "${shim}"
done

unmount_below() {
    awk -v below="$1" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | sort -r |
        while read -r mounted; do
            umount -f "${mounted}" 2>/dev/null || umount -l "${mounted}"
        done
}
for below in /run/k3s /var/lib/kubelet/pods /var/lib/kubelet/plugins /run/netns/cni-; do
    unmount_below "${below}"
done
rm -rf /run/k3s

ip netns show 2>/dev/null | awk '/^cni-/ { print $1 }' | while read -r namespace; do
    ip netns delete "${namespace}"
done
ip -o link show master cni0 2>/dev/null | awk -F': ' '{ print $2 }' | while read -r device; do
    ip link delete "${device%%@*}"
done
for device in cni0 flannel.1 flannel-v6.1 kube-ipvs0 flannel-wg flannel-wg-v6; do
    ip link delete "${device}" 2>/dev/null
done
rm -rf /var/lib/cni/

for family in iptables ip6tables; do
    if command -v "${family}-save" >/dev/null 2>&1; then
        "${family}-save" | grep -v -e KUBE- -e CNI- | grep -iv flannel | "${family}-restore"
    fi
done
exit 0
