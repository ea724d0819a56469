#!/usr/bin/env bash
# The manual procedure, as one script: every command that a person types on the workstation and the hosts, in the
# manual's order, each waiting as a person's would, without the time to think. It uses nothing of slicer-k3s.
#
# Runs on the workstation of a fleet. Environment:
#   CONTROL_PLANE   user@address of the first Slicer host
#   WORKERS         user@address … of the worker hosts (may name CONTROL_PLANE too)
#   SUDO_PASSWORDS  file of lines "user@address password" for hosts where sudo asks for one
#   TOOLS           directory with kubectl and helm (a person fetches them with arkade)
#   SKIP_TEST       non-empty: stop when the autoscaler runs
set -euo pipefail

: "${CONTROL_PLANE:=alex@192.168.1.11}" "${WORKERS:=alex@192.168.1.12 pi@192.168.1.13}" "${TOOLS:=/lab/bin}"
export PATH=$TOOLS:$PATH
read -ra workers <<< "$WORKERS"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
began=$(date +%s.%N)

stage() { printf '%7.1f s  %s\n' "$(echo "$(date +%s.%N) $began" | awk '{print $1 - $2}')" "$1" >&2; }
on() { ssh -n -o StrictHostKeyChecking=accept-new -o ConnectTimeout=10 "$@"; }
vm() { ssh -n -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10 "ubuntu@$1" "$2"; }
# as_root HOST COMMAND: sudo as the person would, typing the password where one is asked for.
as_root() {
    local password
    password=$(sed -n "s/^$1 //p" "${SUDO_PASSWORDS:-/dev/null}")
    if [ -n "$password" ]; then
        printf '%s\n' "$password" | ssh -o StrictHostKeyChecking=accept-new "$1" "sudo -S -p '' -E sh -c $(printf %q "$2")"
    else
        on "$1" "sudo -E sh -c $(printf %q "$2")"
    fi
}
# until_true SECONDS WHAT COMMAND…: a person looks again and again, and gives up.
until_true() {
    local limit=$1 what=$2 since=$SECONDS
    shift 2
    until "$@" >"$work/last" 2>&1; do
        if ((SECONDS - since > limit)); then
            printf 'gave up on: %s\n' "$what" >&2
            tail -n 5 "$work/last" >&2
            exit 1
        fi
        sleep 1
    done
}
lan_of() { echo "${1#*@}"; }

# Step 1: the control plane's VMs.
key=$(cat ~/.ssh/id_ed25519.pub)
on "$CONTROL_PLANE" "slicer new k3s-cp --cpu 2 --ram 4 --count=3 --cidr 192.168.137.0/24 --ssh-key $(printf %q "$key") > k3s-cp.yaml"
as_root "$CONTROL_PLANE" 'nohup slicer up ./k3s-cp.yaml > k3s-cp.log 2>&1 < /dev/null &'
three_vms() {
    as_root "$CONTROL_PLANE" 'slicer vm list --json' > devices.json
    [ "$(grep -o '"hostname"' devices.json | wc -l)" -eq 3 ]
}
until_true 120 "three VMs" three_vms
servers=$(grep -o '"ip": *"[0-9.]*' devices.json | grep -o '[0-9.]*$' | sort -t. -k4n)
stage "control-plane VMs listed"
sudo ip route replace 192.168.137.0/24 via "$(lan_of "$CONTROL_PLANE")"
for server in $servers; do until_true 120 "ssh to $server" vm "$server" true; done

# Step 1.1: k3s, as k3sup-pro does it: the first server, then the others side by side.
read -r first rest <<< "${servers//$'\n'/ }"
vm "$first" "curl -sfL https://get.k3s.io | INSTALL_K3S_EXEC='server --cluster-init --tls-san $first' INSTALL_K3S_CHANNEL='stable' sh -" > first.log 2>&1
stage "first server installed"
token=$(vm "$first" "sudo cat /var/lib/rancher/k3s/server/node-token")
joins=()
for server in $rest; do
    vm "$server" "curl -sfL https://get.k3s.io | K3S_URL='https://$first:6443' K3S_TOKEN='$token' INSTALL_K3S_EXEC='server --server https://$first:6443' INSTALL_K3S_CHANNEL='stable' sh -" > "join-$server.log" 2>&1 &
    joins+=($!)
done
for join in "${joins[@]}"; do wait "$join"; done
stage "other servers joined"
umask 077
vm "$first" "sudo cat /etc/rancher/k3s/k3s.yaml" | sed "s/127.0.0.1/$first/" > k3s-cp-kubeconfig
export KUBECONFIG=$work/k3s-cp-kubeconfig
printf '%s\n' "$token" > k3s-join-token.txt
nodes_ready() { [ "$(kubectl get nodes --no-headers | grep -cw Ready)" -eq 3 ]; }
until_true 300 "three Ready nodes" nodes_ready
stage "three Ready nodes"

# Step 2: a worker host group on each worker host, and its token.
index=0
for host in "${workers[@]}"; do
    index=$((index + 1))
    on "$host" "slicer new k3s-agents-$index --cpu 2 --ram 4 --cidr 192.168.$((137 + index)).0/24 --count=0 --tap-prefix=k3sa$index --api-bind=0.0.0.0 --api-port=$((8080 + index)) --find-ssh-keys=false --ssh-port=0 > k3s-agents-$index.yaml"
    as_root "$host" "mkdir -p agents-$index && cd agents-$index && nohup slicer up ../k3s-agents-$index.yaml > ../k3s-agents-$index.log 2>&1 < /dev/null &"
    until_true 60 "the API on $host" as_root "$host" "slicer vm list --url http://127.0.0.1:$((8080 + index))"
    as_root "$host" 'cat /var/lib/slicer/auth/token' > "slicer-token-$index.txt"
done
stage "worker host groups up"

# Step 3: routes, on every host, kept by a unit.
routes_for() {
    echo '#!/bin/bash'
    [ "$1" = "$CONTROL_PLANE" ] || echo "ip route replace 192.168.137.0/24 via $(lan_of "$CONTROL_PLANE")"
    local n=0 other
    for other in "${workers[@]}"; do
        n=$((n + 1))
        [ "$other" = "$1" ] || echo "ip route replace 192.168.$((137 + n)).0/24 via $(lan_of "$other")"
    done
}
cat > slicer-routes.service <<'EOF'
[Unit]
Description=Add slicer routes
After=network-online.target
Wants=network-online.target
[Service]
Type=oneshot
ExecStart=/root/add-routes.sh
RemainAfterExit=true
User=root
[Install]
WantedBy=multi-user.target
EOF
for host in $(printf '%s\n' "$CONTROL_PLANE" "${workers[@]}" | sort -u); do
    script=$(routes_for "$host" | base64 -w0)
    unit=$(base64 -w0 < slicer-routes.service)
    as_root "$host" "echo $script | base64 -d > /root/add-routes.sh && chmod +x /root/add-routes.sh && echo $unit | base64 -d > /etc/systemd/system/slicer-routes.service && systemctl -q enable --now slicer-routes.service"
done
stage "routes installed"

# Step 4: the cloud configuration.
{
    printf '[global]\nk3s-url=https://%s:6443\nk3s-token=%s\ndefault-min-size=0\ndefault-max-size=10\n' "$first" "$(cat k3s-join-token.txt)"
    n=0
    for host in "${workers[@]}"; do
        n=$((n + 1))
        printf '[nodegroup "k3s-agents-%d"]\nslicer-url=http://192.168.%d.1:%d\nslicer-token=%s\nmax-size=4\n' "$n" "$((137 + n))" "$((8080 + n))" "$(cat "slicer-token-$n.txt")"
    done
} > cloud-config.toml

# Step 5: the autoscaler.
kubectl create secret generic -n kube-system cluster-autoscaler-cloud-config --from-file=cloud-config=./cloud-config.toml >&2
cat > values-slicer.yaml <<'EOF'
fullnameOverride: slicer-cluster-autoscaler
image:
  repository: docker.io/openfaasltd/cluster-autoscaler-slicer
  tag: latest
cloudProvider: slicer
autoDiscovery:
  clusterName: k3s-slicer
extraVolumeSecrets:
  cluster-autoscaler-cloud-config:
    name: cluster-autoscaler-cloud-config
    mountPath: /etc/slicer/
    items:
      - key: cloud-config
        path: cloud-config
extraArgs:
  cloud-config: /etc/slicer/cloud-config
  logtostderr: true
  stderrthreshold: info
  v: 4
  scale-down-enabled: true
  scale-down-delay-after-add: "30s"
  scale-down-unneeded-time: "30s"
  expendable-pods-priority-cutoff: -10
  expander: random
EOF
helm repo add autoscaler https://kubernetes.github.io/autoscaler >&2
helm upgrade --install slicer-cluster-autoscaler autoscaler/cluster-autoscaler --namespace=kube-system --values=./values-slicer.yaml >&2
kubectl patch clusterrole/slicer-cluster-autoscaler --type=json -p='[{"op": "add", "path": "/rules/4/verbs/-", "value": "delete"}]' >&2
kubectl rollout status -n kube-system deployment/slicer-cluster-autoscaler --timeout=300s >&2
stage "autoscaler runs"
ready=$(echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}')
if [ -n "${SKIP_TEST:-}" ]; then
    printf '{"autoscaler_running_seconds": %s}\n' "$ready"
    exit 0
fi

# Test: pods that only agents may run need new nodes; without them the nodes go.
kubectl apply -f - >&2 <<'EOF'
apiVersion: apps/v1
kind: Deployment
metadata:
  name: sleep
spec:
  replicas: 2
  selector: {matchLabels: {app: sleep}}
  template:
    metadata: {labels: {app: sleep}}
    spec:
      nodeSelector: {k3sup.dev/node-type: agent}
      terminationGracePeriodSeconds: 0
      containers:
        - name: sleep
          image: docker.io/library/busybox:latest
          command: ["sleep", "infinity"]
          imagePullPolicy: IfNotPresent
          resources: {requests: {cpu: "1", memory: 50Mi}}
EOF
kubectl rollout status deployment/sleep --timeout=300s >&2
stage "pods run on new nodes"
kubectl get nodes -o wide >&2
kubectl delete deployment sleep >&2
no_agents() { [ "$(kubectl get nodes -l k3sup.dev/node-type=agent --no-headers 2>/dev/null | wc -l)" -eq 0 ]; }
until_true 300 "nodes gone" no_agents
stage "nodes gone again"
printf '{"autoscaler_running_seconds": %s, "all_seconds": %s}\n' "$ready" "$(echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}')"
