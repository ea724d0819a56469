#!/usr/bin/env bash
# The floor: the end state of `slicer-k3s init`, by a script that knows every answer beforehand, looks at nothing that it
# does not need, verifies nothing and overlaps all that can overlap. What is faster than this leaves something out.
#
# Runs on the workstation of a fleet. Environment:
#   FILES           what `slicer-k3s generate --out` wrote, tokens included, before the clock started
#   KEY             the cluster's private key
#   VERSION         k3s's version
#   HOSTS           lines "name user@address", the control plane's host first
#   WORKERS         names of those that have workers, in the order of their groups
#   SUDO_PASSWORDS  file of lines "user@address password" for hosts where sudo asks for one
set -euo pipefail

: "${FILES:?}" "${KEY:?}" "${VERSION:?}" "${HOSTS:?}" "${WORKERS:?}"
work=$(mktemp -d)
finish() {
    local socket
    # shellcheck disable=SC2046 # one word a job
    kill $(jobs -p) 2>/dev/null || true
    for socket in "$work"/*.ssh; do ssh -o ControlPath="$socket" -O exit x 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
began=$(date +%s.%N)
stage() { printf '%7.1f s  %s\n' "$(echo "$(date +%s.%N) $began" | awk '{print $1 - $2}')" "$1" >&2; }

read -ra workers <<< "$WORKERS"
read -r control_plane _ <<< "$HOSTS"
mapfile -t servers < <(cd "$FILES/servers" && printf '%s\n' * | sort)
first=${servers[0]}
address() { sed -n 's/^node-ip: "\(.*\)"/\1/p' "$FILES/servers/$1/etc/rancher/k3s/config.yaml"; }
reach() { sed -n "s/^$1 //p" <<< "$HOSTS"; }
quiet=(-o LogLevel=ERROR -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=20)
# One connection a machine, kept open.
host() { ssh "${quiet[@]}" -o ControlMaster=auto -o ControlPath="$work/%C.ssh" -o ControlPersist=60 "$@"; }
vm() {
    local through
    through="ssh ${quiet[*]} -o ControlPath=$work/%%C.ssh -W %h:%p $(reach "$control_plane")"
    ssh "${quiet[@]}" -i "$KEY" -o ControlMaster=auto -o "ControlPath=$work/%C.ssh" -o ControlPersist=60 -o "ProxyCommand=$through" \
        "ubuntu@$(address "$1")" "$2"
}
# as_root NAME SCRIPT: its standard input is the script's.
as_root() {
    local target password
    target=$(reach "$1")
    password=$(sed -n "s/^$target //p" "${SUDO_PASSWORDS:-/dev/null}")
    if [ -n "$password" ]; then
        { printf '%s\n' "$password" && cat; } | host "$target" "sudo -k -S -p '' sh -c $(printf %q "$2")"
    else
        host "$target" "sudo sh -c $(printf %q "$2")"
    fi
}

# A host in one go: every file, both units, and what its daemon's token is.
prepare_host() {
    # shellcheck disable=SC2016 # expanded on the host
    tar -C "$FILES/hosts/$1" --owner=0 --group=0 -c . | as_root "$1" 'tar -x --no-overwrite-dir -C /
        chmod 0755 /usr/local/lib/slicer-k3s/keep-routes
        units=slicer-k3s-routes.service; mkdir -p /var/log/slicer
        for d in /var/lib/slicer-k3s/*/*/; do
            install -d -m 0700 "$d" "$d/.secrets"; units="$units slicer-$(basename "$d").service"
        done
        echo 1 > /proc/sys/net/ipv4/ip_forward
        systemctl daemon-reload; systemctl -q enable --now --no-block $units
        until [ -s /var/lib/slicer/auth/token ]; do sleep 0.1; done; cat /var/lib/slicer/auth/token' > "$work/token.$1.new"
    mv "$work/token.$1.new" "$work/token.$1"
    stage "$1 prepared"
}

# A server in one go, as soon as it lets us in. The first starts at once, the others once it can be joined.
prepare_server() {
    local join=""
    # shellcheck disable=SC2016 # expanded on the server
    [ "$1" = "$first" ] ||
        join="until curl -skf -m 2 -o /dev/null https://$(address "$first"):6443/cacerts; do sleep 0.1; done;"
    until vm "$1" true 2>/dev/null < /dev/null; do sleep 0.1; done
    stage "$1 lets us in"
    tar -C "$FILES/servers/$1" --owner=0 --group=0 -c . | vm "$1" "sudo sh -c $(printf %q "tar -x --no-overwrite-dir -C /; chmod 0600 /etc/rancher/k3s/config.yaml
        until curl -sfL -o /tmp/install.sh https://get.k3s.io; do sleep 0.1; done
        INSTALL_K3S_VERSION=$VERSION INSTALL_K3S_SKIP_START=true INSTALL_K3S_EXEC=server sh /tmp/install.sh </dev/null >/dev/null
        $join systemctl start --no-block k3s")"
    stage "$1 started"
}

# On the first server: waits until the cluster's CA is there, completes the two objects that depend on it, and applies
# them as soon as the API takes them.
# shellcheck disable=SC2016 # expanded on the server
deploy='
    t=/var/lib/rancher/k3s/server/agent-token
    until [ -s $t ]; do sleep 0.1; done
    sed -i "s|REPLACE-WITH-AGENT-TOKEN|$(cat $t)|" /tmp/deploy/cloud-config.toml
    sed -i "s|REPLACE-WITH-SHA256|$(sha256sum < /tmp/deploy/cloud-config.toml | cut -d" " -f1)|" /tmp/deploy/helmchart.yaml
    cd /tmp/deploy
    { cat helmchart.yaml; printf "\n---\napiVersion: v1\nkind: Secret\ntype: Opaque\nmetadata: {name: cluster-autoscaler-cloud-config, namespace: kube-system}\ndata: {cloud-config: %s}\n" "$(base64 -w0 cloud-config.toml)"; } > all.yaml
    until k3s kubectl apply -f all.yaml >/dev/null 2>&1; do sleep 0.2; done'
# The end that `init` waits for: the autoscaler works, and every server is a Ready voter.
# shellcheck disable=SC2016 # expanded on the server
autoscaler='until k3s kubectl logs -n kube-system deployment/slicer-cluster-autoscaler 2>/dev/null | grep -q "Registered cleanup signal handler"; do sleep 0.2; done'
# shellcheck disable=SC2016 # expanded on the server
voters='until [ "$(k3s kubectl get nodes -o jsonpath="{range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status}{.status.conditions[?(@.type==\"EtcdIsVoter\")].status} {end}" 2>/dev/null | grep -o TrueTrue | wc -l)" -ge '"${#servers[@]}"' ]; do sleep 0.3; done'

while read -r name _; do prepare_host "$name" < /dev/null & done <<< "$HOSTS"
for server in "${servers[@]}"; do prepare_server "$server" & done

for name in "${workers[@]}"; do until [ -e "$work/token.$name" ]; do sleep 0.05; done; done
cp -r "$FILES" "$work/files"
for name in "${workers[@]}"; do
    sed -i "s|REPLACE-WITH-SLICER-TOKEN-OF-$name|$(cat "$work/token.$name")|" "$work/files/cloud-config.toml"
done
until vm "$first" true 2>/dev/null < /dev/null; do sleep 0.1; done
tar -C "$work/files" -c cloud-config.toml helmchart.yaml |
    vm "$first" "sudo sh -c $(printf %q "mkdir -p -m 0700 /tmp/deploy; tar -x -C /tmp/deploy; $deploy")"
stage "objects applied"

# What workers join with, on every daemon that makes them; the kubeconfig; and the end.
agent_token=$(vm "$first" "sudo cat /var/lib/rancher/k3s/server/agent-token" < /dev/null)
for name in "${workers[@]}"; do
    port=$(sed -n 's/^ *port: \([1-9][0-9]*\)$/\1/p' "$FILES/hosts/$name/var/lib/slicer-k3s/"*/*/*.yaml | head -n 1)
    body=$(printf '{"name":"k3s-token","data":"%s","permissions":"0600","uid":0,"gid":0}' "$(printf %s "$agent_token" | base64 -w0)")
    # shellcheck disable=SC2016 # expanded on the host
    printf '%s' "$body" | as_root "$name" 'curl -sf -o /dev/null -H "Authorization: Bearer $(cat /var/lib/slicer/auth/token)" -H "Content-Type: application/json" --data-binary @- http://127.0.0.1:'"$port"'/secrets' &
done
vm "$first" "sudo cat /etc/rancher/k3s/k3s.yaml" < /dev/null > "$FILES/kubeconfig"
vm "$first" "sudo sh -c $(printf %q "$autoscaler")" < /dev/null
ready=$(echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}')
stage "the autoscaler works"
vm "$first" "sudo sh -c $(printf %q "$voters")" < /dev/null
stage "every server votes"
printf '{"autoscaler_running_seconds": %s, "all_seconds": %s}\n' "$ready" "$(echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}')"
