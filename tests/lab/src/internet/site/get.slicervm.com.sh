#!/usr/bin/env bash
# Prepares a machine of the lab for the Slicer stand-in. Own text; what it checks, in which order,
# and what it leaves on the machine are the documented effects of the installer that answers at
# this name on the real Internet. What the lab has no use for (Firecracker, CNI plugins) is left
# as marker files, so that whoever looks for them finds them.
set -euo pipefail

site=https://get.slicervm.com

say() { echo "==> $*"; }
die() {
    echo "Error: $*" >&2
    exit 1
}

usage() {
    cat <<'EOF'
Usage: curl -sLS https://get.slicervm.com | sudo bash [-s -- FLAGS]

  --zfs [DEVICE]         prepare ZFS storage (not in the lab)
  --devmapper [DEVICE]   prepare devmapper storage (not in the lab)
  --overwrite            allow DEVICE to hold data
  --qemu                 prepare QEMU (x86_64 only; not in the lab)
  --help                 print this
EOF
}

parse() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --help) usage && exit 0 ;;
            --overwrite) ;;
            --zfs | --devmapper | --qemu) die "$1: the lab's stand-in has only image storage on its own machines" ;;
            *)
                usage >&2
                die "unknown flag: $1"
                ;;
        esac
        shift
    done
}

install_client() {
    say 'Downloading slicer'
    local new
    new=$(mktemp)
    curl -sSfL -o "${new}" "${site}/slicer"
    install -m 0755 "${new}" /usr/local/bin/slicer
    rm -f "${new}"
}

check_package_manager() {
    local manager
    for manager in apt-get dnf yum pacman; do
        if command -v "${manager}" >/dev/null 2>&1; then
            return
        fi
    done
    die 'no supported package manager (apt, dnf, yum, pacman)'
}

check_kvm() {
    # The client is on the machine already: an abort here leaves half an installation.
    [ -e /dev/kvm ] || die 'KVM not found: /dev/kvm is missing on this machine'
}

make_group_and_directories() {
    getent group slicer >/dev/null || groupadd --system slicer
    install -d -m 0750 -o root -g slicer /var/lib/slicer /var/lib/slicer/auth
    install -d -m 0770 -o root -g slicer /run/slicer
    if [ -f /var/lib/slicer/auth/token ]; then
        chown root:slicer /var/lib/slicer/auth/token
        chmod 0640 /var/lib/slicer/auth/token
    fi
}

mark() {
    [ -e "$1" ] && return
    install -d "$(dirname "$1")"
    printf '#!/bin/sh\necho "%s: a marker of the lab" >&2\nexit 1\n' "$(basename "$1")" >"$1"
    chmod 0755 "$1"
}

install_networking() {
    if [ ! -e /opt/cni/bin/firewall ]; then
        say 'Installing CNI plugins'
        local plugin
        for plugin in bridge firewall host-local loopback tc-redirect-tap; do
            mark "/opt/cni/bin/${plugin}"
        done
    fi
    install -d /etc/cni/net.d
    printf '%s\n' '{"cniVersion": "1.0.0", "type": "loopback", "name": "lo"}' \
        >/etc/cni/net.d/99-loopback.conf
    cat >/etc/cni/net.d/50-mvm.conflist <<'EOF'
{
  "cniVersion": "1.0.0",
  "name": "mvm",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "mvm-br",
      "isGateway": true,
      "ipMasq": true,
      "ipam": {"type": "host-local", "subnet": "192.168.128.0/24"}
    },
    {"type": "firewall"},
    {"type": "tc-redirect-tap"}
  ]
}
EOF
}

install_containerd() {
    # Only its own path counts: a distribution's containerd goes unnoticed.
    [ -e /usr/local/bin/containerd ] && return
    if [ ! -x /usr/bin/containerd ]; then
        mark /usr/local/bin/containerd
        return
    fi
    say 'Installing containerd'
    printf '#!/bin/sh\nexec /usr/bin/containerd "$@"\n' >/usr/local/bin/containerd
    chmod 0755 /usr/local/bin/containerd
    # A masked unit is a link to nowhere, and writing would follow it.
    rm -f /etc/systemd/system/containerd.service
    cat >/etc/systemd/system/containerd.service <<'EOF'
[Unit]
Description=containerd container runtime
After=network.target local-fs.target

[Service]
ExecStart=/usr/local/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
EOF
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl enable --quiet --now containerd
    fi
}

forward_packets() {
    cat >/etc/sysctl.d/99-slicer.conf <<'EOF'
net.ipv4.ip_forward=1
net.ipv4.conf.all.forwarding=1
EOF
    # This file alone: the others of a lab machine would reach for the kernel that all share.
    sysctl -q -p /etc/sysctl.d/99-slicer.conf
}

configure_networkd() {
    if systemctl is-active --quiet NetworkManager || ! systemctl is-active --quiet systemd-networkd; then
        return
    fi
    install -d /etc/systemd/network
    cat >/etc/systemd/network/00-veth-ignore.network <<'EOF'
[Match]
Name=veth*

[Link]
Unmanaged=yes
EOF
    if grep -qs KeepConfiguration=yes /etc/systemd/networkd.conf; then
        return
    fi
    say 'Configuring systemd-networkd'
    cat >/etc/systemd/networkd.conf <<'EOF'
[Network]
KeepConfiguration=yes
ManageForeignRoutes=no
EOF
    systemctl restart systemd-networkd
}

# Half a download does nothing: the last line starts everything.
main() {
    parse "$@"
    case "${OSTYPE:-}" in
        linux-gnu*) ;;
        *)
            install_client
            say 'Slicer client.. Installed OK.'
            say 'server skipped'
            exit 0
            ;;
    esac
    [ "$(id -u)" -eq 0 ] || die 'this script must be run as sudo or root'

    install_client
    check_package_manager
    check_kvm
    make_group_and_directories
    install_networking
    install_containerd
    forward_packets
    configure_networkd
    [ -e /usr/local/bin/firecracker ] || say 'Installing Firecracker'
    mark /usr/local/bin/firecracker

    say 'Slicer.. Installed OK.'
    say 'Next: place your licence at ~/.slicer/LICENSE'
    say "To use slicer without sudo: usermod -aG slicer ${SUDO_USER:-USER}"
}

main "$@"
