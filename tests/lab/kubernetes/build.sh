#!/bin/sh
# usage: build.sh OUT
# Builds every static binary that the lab's machines and images are made of into OUT:
# k3s, cluster-autoscaler, klipper-helm, coredns, metrics-server, pause (this module) and helm.
set -eu
[ $# -eq 1 ] || { echo "usage: build.sh OUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)

kubernetes=v1.34.4
k3s=$kubernetes+k3s1
# What klipper-helm v0.13.3 holds, and what a person gets today.
helm=v4.1.4

ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags="$ldflags -X $package.gitVersion=$k3s -X $package.gitMajor=1 -X $package.gitMinor=34 -X $package.gitTreeState=clean"
done
ldflags="$ldflags -X slicer-k3s.lab/kubernetes/internal/version.Version=$k3s"

# Without -trimpath: so that these builds share the build cache with `go build` and `go test` in this module.
export CGO_ENABLED=0 GOBIN="$out"
(cd "$here" && go build -ldflags "$ldflags" -o "$out/" ./cmd/...)
go install -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$helm" "helm.sh/helm/v4/cmd/helm@$helm"
