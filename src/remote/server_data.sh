#!/bin/sh
# Prints what a k3s server holds, a KEY=VALUE line each; the last line is `end`. Changes nothing. A file that cannot be
# looked at for another reason than that it is missing ends the script: an I/O error must not pass for an empty disk.
# The names are those of src/k3s/names.rs.
# With VERSIONS=yes also which k3s is installed and which one answers; a line that is missing says that none does.
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

data() {
    # k3s's own test of whether its etcd was ever started here: then etcd is its datastore, and a state.db beside it is not
    # read again. Without etcd's data a state.db is the datastore, SQLite's (k3s, pkg/cluster/managed.go assignManagedDriver;
    # pkg/etcd/etcd.go migrateFromSQLite renames it once its content is in etcd).
    kept=$etcd/member/snap/db
    if there "$etcd/member/wal"; then
        echo data=yes
    elif there "$server/db/state.db"; then
        echo data=sqlite
        kept=$server/db/state.db
    else
        echo data=no
    fi
    if there "$server/tls/server-ca.crt"; then
        hash=$(sha256sum <"$server/tls/server-ca.crt") || exit 3
        echo "ca=${hash%% *}"
    fi
    members=$(curl -sfk -m 5 --max-filesize 262144 https://127.0.0.1:6443/db/info)
    echo "members=$members"
    # Where a quorum answers, nobody asks how old or large the data is.
    if [ -z "$members" ] && there "$kept"; then
        # SQLite writes to its log first.
        written=$(stat -c %Y -- "$kept" "$kept-wal" 2>/dev/null | sort -n | tail -n 1)
        echo "written=$(($(date +%s) - written))"
        echo "bytes=$(stat -c %s -- "$kept")"
    fi
}

# What is in /usr/local/bin is what the next start runs. What runs is asked of the API server: the process was started from
# a copy (data/<hash>/bin), and data/current leads to whatever copy was unpacked last, by any `k3s kubectl`.
versions() {
    tls=$server/tls
    program=/usr/local/bin/k3s
    running=$(curl -sf -m 5 --max-filesize 65536 --cacert $tls/server-ca.crt --cert $tls/client-admin.crt \
        --key $tls/client-admin.key https://127.0.0.1:6443/version | sed -n 's/.*"gitVersion": *"\([^"]*\)".*/\1/p')
    echo "running=$running"
    # Before it is started: one that is replaced meanwhile has another stamp.
    stat -L -c 'stamp=%i %s %z' $program 2>/dev/null
    # k3s is a large program, and expensive to start. One that lay there unchanged when the process was started is what
    # runs. Should the clock have gone back in between, a newer one shows at the next restart only.
    changed=$(stat -L -c %Z $program 2>/dev/null)
    started=$(systemctl show -p ExecMainStartTimestamp --timestamp=unix --value k3s 2>/dev/null)
    if [ -n "$running" ] && [ "$changed" -lt "${started#@}" ] 2>/dev/null; then
        echo "installed=k3s version $running"
    else
        timeout 5 $program --version 2>/dev/null | sed -n '1s/^/installed=/p'
    fi
}

# Side by side.
if [ "$VERSIONS" = yes ]; then
    versions | { data && cat; } || exit
else
    data
fi
echo end
