#!/bin/sh
# Prints what a k3s server holds, a KEY=VALUE line each; the last line is `end`. Changes nothing. A file that cannot be
# looked at for another reason than that it is missing ends the script: an I/O error must not pass for an empty disk.
LC_ALL=C
export LC_ALL
server=/var/lib/rancher/k3s/server
etcd=$server/db/etcd

there() {
    [ -e "$1" ] && return 0
    why=$(stat -c %n -- "$1" 2>&1) && return 0
    case $why in *'No such file or directory') return 1 ;; esac
    echo "$why" >&2
    exit 3
}

# k3s's own test of whether its etcd was ever started here.
if there "$etcd/member/wal"; then echo data=yes; else echo data=no; fi
if there "$server/tls/server-ca.crt"; then
    hash=$(sha256sum <"$server/tls/server-ca.crt") || exit 3
    echo "ca=${hash%% *}"
fi
members=$(curl -sfk -m 5 --max-filesize 262144 https://127.0.0.1:6443/db/info)
echo "members=$members"
# Where a quorum answers, nobody asks how old or large the data is.
if [ -z "$members" ] && there "$etcd/member/snap/db"; then
    echo "written=$(($(date +%s) - $(stat -c %Y "$etcd/member/snap/db")))"
    echo "bytes=$(stat -c %s "$etcd/member/snap/db")"
fi
echo end
