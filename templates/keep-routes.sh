#!/bin/sh
# Written by slicer-k3s: puts back routes that a flapping link, a restarted network daemon or a person removed, and the tables
# by which servers keep their own addresses, which a firewall that begins anew flushes.
# Only what is missing is touched, so a healthy host logs nothing.

# What the kernel tells of links, addresses and routes; without it this looks every ten seconds all the same.
pipe=/run/slicer-k3s-routes.$$
rm -f "$pipe"
mkfifo -m 600 "$pipe" || exit 1
exec 3<>"$pipe"
rm -f "$pipe"
ip monitor link address route >&3 2>/dev/null &

while :; do
    cat /etc/slicer-k3s/routes.d/* 2>/dev/null | while read -r cidr via; do
        if [ -n "$cidr" ] && [ -z "$(ip -4 route show "$cidr" via "$via" 2>/dev/null)" ]; then
            ip -4 route replace "$cidr" via "$via"
        fi
    done
    for file in /etc/slicer-k3s/own-addresses.d/*; do
        [ -f "$file" ] || continue
        if ! command -v nft >/dev/null 2>&1; then
            [ "$told" ] || echo "nft is not installed: servers' addresses are not kept" >&2
            told=yes
        elif ! nft list table ip "slicer-k3s-${file##*/}" >/dev/null 2>&1; then
            nft -f "$file"
        fi
    done
    # At most once a second, however much is told.
    sleep 1
    timeout 9 dd bs=64k count=1 <&3 >/dev/null 2>&1
done
