#!/bin/sh
# Prints what the plan must know of a host, as sections. Looks only: nothing is written, installed or started.
# Every line of a section's content begins with a blank, so that no file's text can pass for a heading.
PATH=$PATH:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL

section() {
    echo "== $1"
    head -c 65536 | tr -d '\000\r' | sed 's/^/ /'
    echo
}

uname -m | section arch
{
    cat /proc/device-tree/model 2>/dev/null || cat /sys/firmware/devicetree/base/model 2>/dev/null
    echo
    sed -n 's/^Model[[:space:]]*: //p; s/^model name[[:space:]]*: //p' /proc/cpuinfo
} | head -n 20 | section model
sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | section os
cores=$(grep -c '^processor' /proc/cpuinfo 2>/dev/null)
[ "${cores:-0}" -gt 0 ] || cores=$(nproc 2>/dev/null)
echo "$cores" | section cores
sed -n 's/^MemTotal:[[:space:]]*//p' /proc/meminfo | section memory

# The directory may not exist yet: ask the nearest one above it.
place=/var/lib/slicer-k3s
while [ ! -d "$place" ]; do place=$(dirname "$place"); done
df -Pk "$place" 2>/dev/null | sed -n 2p | section disk

if [ -e /dev/kvm ]; then echo yes; else echo no; fi | section kvm
if [ -d /run/systemd/system ]; then echo yes; else echo no; fi | section systemd
command -v nft >/dev/null 2>&1 || echo nft | section lacks
section forwarding </proc/sys/net/ipv4/ip_forward
ip -j -4 addr show 2>/dev/null | section addresses
ip -j -4 route show 2>/dev/null | section routes
for link in /sys/class/net/*; do echo "${link##*/}"; done | section interfaces
# State 0A is LISTEN; the port is the hexadecimal number after the last colon of the local address.
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    awk '$4 == "0A" { n = split($2, part, ":"); print part[n] }' | sort -u | section ports
section hostname </proc/sys/kernel/hostname
cat /etc/machine-id /proc/sys/kernel/random/boot_id 2>/dev/null | section identity
date +%s | section clock

# Defined in slicer_lacks.sh, which goes before.
if [ -z "$(slicer_lacks)" ]; then
    timeout 5 slicer version </dev/null 2>/dev/null
    echo installed
fi | section slicer

{
    for user in "$SUDO_USER" root; do
        [ -n "$user" ] || continue
        home=$(getent passwd "$user" 2>/dev/null | cut -d: -f6)
        [ -n "$home" ] && [ -s "$home/.slicer/LICENSE" ] && echo "$home/.slicer/LICENSE"
    done
} | section licences

# sudo clears SSH_CONNECTION; sshd's own child above us still has it.
process=$$
while [ "${process:-0}" -gt 1 ]; do
    line=$(tr '\000' '\n' 2>/dev/null <"/proc/$process/environ" | sed -n 's/^SSH_CONNECTION=//p')
    [ -n "$line" ] && echo "$line" && break
    process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$process/status" 2>/dev/null)
done | section ssh

for mark in /etc/slicer-k3s/*.json; do
    [ -f "$mark" ] || continue
    basename "$mark" .json | section mark-name
    section mark <"$mark"
done

# A directory, by the name that slicer-k3s gives it where it is one of its own: a link may lead to it, and a process shows only
# what links have led to.
named() {
    for own in /var/lib/slicer-k3s/*/*; do
        # shellcheck disable=SC3013 # dash, bash and busybox know it
        if [ -d "$own" ] && [ "$own" -ef "$1" ]; then
            echo "$own"
            return
        fi
    done
    echo "$1"
}

# One daemon: where it comes from, its directory, its file, the licence it was given, the file's text.
daemon() {
    echo "$1" | section daemon
    named "$2" | section daemon-directory
    file=$3
    case $file in /*) ;; *) file=$2/$file ;; esac
    file=$(readlink -f "$file" || echo "$file")
    echo "$file" | section daemon-config
    echo "$4" | section daemon-licence
    [ -f "$file" ] && section daemon-yaml <"$file"
}

# The arguments after `slicer up`: the file is the one that is neither an option nor an option's value.
arguments() {
    config=slicer.yaml licence=''
    while [ $# -gt 0 ]; do
        case $1 in
        --license-file=*) licence=${1#*=} ;;
        --license-file) shift && licence=$1 ;;
        -f) shift && config=$1 ;;
        -*) ;;
        *) config=$1 ;;
        esac
        [ $# -gt 0 ] && shift
    done
}

grep -l '^ExecStart=.*slicer up' /etc/systemd/system/*.service /usr/lib/systemd/system/*.service 2>/dev/null |
    while read -r unit; do
        line=$(sed -n 's/^ExecStart=.*slicer up[[:space:]]*//p' "$unit" | head -n 1)
        directory=$(sed -n 's/^WorkingDirectory=//p' "$unit" | head -n 1)
        set -f
        # shellcheck disable=SC2086 # the line is split into its words on purpose
        arguments $line
        set +f
        daemon "$unit" "${directory:-/}" "$config" "$licence"
    done

for process in /proc/[0-9]*; do
    read -r name 2>/dev/null <"$process/comm" || continue
    [ "$name" = slicer ] || continue
    words=$(tr '\000' '\n' 2>/dev/null <"$process/cmdline" | tail -n +2)
    [ "$(echo "$words" | head -n 1)" = up ] || continue
    directory=$(readlink "$process/cwd" 2>/dev/null)
    set -f
    # shellcheck disable=SC2046 # words with blanks are not expected in a daemon's arguments
    arguments $(echo "$words" | tail -n +2)
    set +f
    daemon "process ${process#/proc/}" "${directory:-/}" "$config" "$licence"
done
echo '== end'
