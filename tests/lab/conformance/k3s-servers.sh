#!/usr/bin/env bash
# What k3s itself does with tokens, bootstrap data, etcd members, resets and restores: checks from outside, each of which
# was seen to pass on k3s 1.34 (June 2026) in this lab. Where the lab's own k3s fails one, it is kinder than the original.
#
#   k3s-servers.sh LAB FLEET
#     LAB    the lab's binary, run from the project's root
#     FLEET  a fleet that is up, with a fresh cluster of three servers on one host (k3s-cp-1 to -3; no agents, no pods to lose)
#
# Destroys that cluster, in about five minutes. Prints `ok` or `FAIL` for each check; exit 1 where one failed.
# shellcheck disable=SC2317 # functions are called by their names, by `holds` and `fails`
set -uo pipefail

[ $# -eq 2 ] || { echo "usage: k3s-servers.sh LAB FLEET" >&2; exit 2; }
lab=$1 fleet=$2 bad=0
first=k3s-cp-1 second=k3s-cp-2 third=k3s-cp-3
servers=("$first" "$second" "$third")
data=/var/lib/rancher/k3s/server config=/etc/rancher/k3s/config.yaml

# on SERVER SCRIPT: as root on that server.
on() { timeout 150 "$lab" run --fleet "$fleet" "$1" -- sh -c "$2" </dev/null 2>/dev/null; }

report() {
    if [ "$1" = 0 ]; then
        echo "ok    $2"
    else
        echo "FAIL  $2${3:+ ($3)}"
        bad=1
    fi
}
# holds WHAT COMMAND…: the command succeeds.
holds() {
    local what=$1
    shift
    "$@"
    report $? "$what"
}
# fails WHAT COMMAND…: it does not.
fails() {
    local what=$1 code=0
    shift
    "$@" && code=1
    report "$code" "$what"
}
# same WHAT GOT WANTED
same() {
    local code=0
    [ "$2" = "$3" ] || code=1
    report "$code" "$1" "$2"
}

value() { on "$1" "sed -n 's/^$2: *//p' $config | tr -d '\"'"; }
put() { on "$1" "sed -i 's|^$2: .*|$2: $3|' $config"; }
# status SERVER CREDENTIALS PATH: of a request to that server, from itself; without credentials where they are empty.
status() { on "$1" "curl -sk -m 5 -o /dev/null -w '%{http_code}' ${2:+-u $2} https://127.0.0.1:6443$3"; }
restart() { on "$1" "systemctl reset-failed k3s; timeout 40 systemctl restart k3s"; }
start() { on "$1" "systemctl reset-failed k3s; timeout 90 systemctl start k3s"; }
stop() { on "$1" "systemctl stop k3s; /usr/local/bin/k3s-killall.sh >/dev/null 2>&1; true"; }
down() { on "$1" "systemctl stop k3s"; }
active() { [ "$(on "$1" "systemctl is-active k3s")" = active ]; }
without_passwd() { on "$1" "rm -f $data/cred/passwd"; }
rotate() { on "$1" "exec >/dev/null 2>&1; k3s token rotate --token \$(cat $data/token) --new-token $2"; }
# said SERVER TEXT: its journal of the last minute has that.
said() { on "$1" "journalctl -u k3s --no-pager --since -60s | grep -qF '$2'"; }
# ready SERVER COUNT: so many Nodes are Ready, as that server sees it.
ready() {
    for _ in $(seq 40); do
        [ "$(on "$1" "k3s kubectl get nodes --no-headers" | grep -c ' Ready')" = "$2" ] && return 0
        sleep 2
    done
    return 1
}
# which_token SERVER OLD NEW: what the server says to a server that joins with the old token, and with the new one.
which_token() {
    status "$1" "server:$2" /v1-k3s/server-bootstrap
    status "$1" "server:$3" /v1-k3s/server-bootstrap
}

second_address=$(value "$second" node-ip)
old=$(value "$first" token) agent=$(value "$first" agent-token)

# --- Who is let in ------------------------------------------------------------------------------
same "no credentials: 403" "$(status "$second" "" /v1-k3s/config)" 403
same "a wrong password: 401" "$(status "$second" server:wrong /v1-k3s/config)" 401
same "the agent token as node on /v1-k3s/config: 200" "$(status "$second" "node:$agent" /v1-k3s/config)" 200
same "the server token as node, where there is an agent token: 401" "$(status "$second" "node:$old" /v1-k3s/config)" 401
same "the server token as server on /v1-k3s/server-bootstrap: 200" "$(status "$second" "server:$old" /v1-k3s/server-bootstrap)" 200
same "the server token as server on /v1-k3s/config: 403" "$(status "$second" "server:$old" /v1-k3s/config)" 403
holds "Nodes have the finalizer of the etcd controller" \
    on "$first" "k3s kubectl get nodes -o jsonpath='{.items[*].metadata.finalizers}' | grep -q managed-etcd-controller"

# --- While it starts ----------------------------------------------------------------------------
# A refusal is a Status in pretty-printed JSON; systemd's and logrus's lines are both in the journal.
holds "while it starts: a pretty-printed Status" on "$third" "systemctl restart --no-block k3s
    for i in \$(seq 100); do
        curl -sk -m 2 https://127.0.0.1:6443/readyz | grep -q '\"kind\": \"Status\"' && exit 0
        sleep 0.1
    done
    exit 1"
ready "$first" 3
holds "the journal has logrus lines" said "$third" "level=info msg="

# --- A ring: the first server's file names the second, without cluster-init -----------------------
on "$first" "sed -i 's|^cluster-init: true|server: https://$second_address:6443|' $config"
holds "the first server with server: instead of cluster-init starts" restart "$first"
holds "and is reconciled with the remote" said "$first" "Successfully reconciled with remote datastore"

# --- The agent token changed in config.yaml: one start passes, the next is refused ----------------
new_agent=agenttoken0000000000000002
for server in "${servers[@]}"; do put "$server" agent-token "$new_agent"; done
holds "agent-token changed: the first restart passes" restart "$first"
fails "the second does not" restart "$first"
holds "for the passwd file is newer than the datastore" said "$first" "passwd newer than datastore and could cause a cluster outage"
down "$first"
without_passwd "$first"
holds "with the file removed it starts" start "$first"
holds "the server token rotated to itself" rotate "$first" "$old"
for server in "$first" "$second" "$third" "$second" "$first" "$third"; do
    holds "$server restarts after that" restart "$server"
done
same "the new agent token is good on the third server" "$(status "$third" "node:$new_agent" /v1-k3s/config)" 200

# --- The server token: no server takes the new one before its own restart -------------------------
new=servertoken000000000000003
holds "the server token rotated" rotate "$first" "$new"
for server in "${servers[@]}"; do
    same "$server still takes the old and refuses the new" "$(which_token "$server" "$old" "$new")" 200401
done
put "$third" token "$new"
holds "the third with the new token in its file starts" restart "$third"
holds "though the first refuses it" said "$third" "Unable to reconcile with remote datastore: not authorized"
fails "the second with the old token in its file does not start" restart "$second"
sleep 8
holds "and then says that the passwd file is newer" said "$second" "newer than datastore"
put "$first" token "$new"
holds "the first with the new token starts" restart "$first"
put "$second" token "$new"
sleep 8
fails "the second stays down with the new token" active "$second"
down "$second"
without_passwd "$second"
holds "until the file is removed" start "$second"
for server in "${servers[@]}"; do
    same "$server refuses the old and takes the new" "$(which_token "$server" "$old" "$new")" 401200
done
put "$second" token "$old"
without_passwd "$second"
stop "$first"
stop "$third"
fails "with a retired token and no server to ask it does not start" restart "$second"
holds "for the data is sealed with another" said "$second" "bootstrap data already found and encrypted with different token"
put "$second" token "$new"
down "$second"
without_passwd "$second"
for server in "$first" "$second" "$third"; do on "$server" "systemctl start --no-block k3s"; done
holds "all three are back" ready "$first" 3

# --- A server without its data, its Node still there; then without its Node -----------------------
stop "$third"
on "$third" "rm -rf $data/db/etcd"
fails "without its data and with its Node there it does not start" on "$third" "timeout 40 systemctl start k3s"
holds "for the name is taken" said "$third" "duplicate node name found"
down "$third"
holds "its Node goes within 60 s" on "$second" "timeout 60 k3s kubectl delete node $third >/dev/null"
holds "then it joins" start "$third"
holds "and is Ready" ready "$first" 3

# --- Quorum lost, one server left -----------------------------------------------------------------
on "$first" "k3s kubectl create configmap keep --from-literal=a=b >/dev/null"
holds "a snapshot" on "$first" "k3s etcd-snapshot save --name before >/dev/null 2>&1"
on "$first" "exec >/dev/null; k3s kubectl delete configmap keep; k3s kubectl create configmap after --from-literal=a=b"
for server in "${servers[@]}"; do stop "$server"; done
fails "a reset with server: in the file is refused" on "$third" "timeout 60 k3s server --cluster-reset >/tmp/reset 2>&1"
holds "and says so" on "$third" "grep -qF 'cannot perform cluster-reset while server URL is set' /tmp/reset"

# --- Restored on the first; the others join again -------------------------------------------------
holds "a restore ends with 0" on "$first" "cp $config /root/config.kept
    sed -i '/^server:/d' $config
    timeout 100 k3s server --cluster-reset --cluster-reset-restore-path=\$(ls $data/db/snapshots/before* | head -1) >/tmp/reset 2>&1
    code=\$?
    cat /root/config.kept >$config
    exit \$code"
holds "it says so, and leaves reset-flag, etcd-old-* and tls-*" on "$first" \
    "grep -qF 'Managed etcd cluster membership has been reset' /tmp/reset && [ -e $data/db/reset-flag ] && ls -d $data/db/etcd-old-* $data/tls-* >/dev/null"
for server in "$second" "$third"; do on "$server" "rm -rf $data/db/etcd"; done
holds "the first starts" start "$first"
holds "what was there at the snapshot is there, and nothing later" on "$first" \
    "exec >/dev/null; k3s kubectl get configmap keep && ! k3s kubectl get configmap after"
holds "the second joins" start "$second"
holds "the third joins" start "$third"
holds "three are Ready" ready "$first" 3

# --- The first server's disk is empty and its file says cluster-init: a second cluster -------------
on "$first" "sed -i 's|^server: .*|cluster-init: true|' $config"
stop "$first"
on "$first" "rm -rf $data"
holds "with an empty disk and cluster-init it starts" start "$first"
alone() { ready "$first" 1 && ! on "$first" "k3s kubectl get configmap keep" >/dev/null; }
holds "as a cluster of its own, with nothing in it" alone
holds "beside the one that lives" on "$second" "k3s kubectl get configmap keep >/dev/null"
exit "$bad"
