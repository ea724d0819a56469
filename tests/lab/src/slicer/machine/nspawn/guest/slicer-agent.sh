#!/bin/sh
# The guest's side of the Slicer stand-in: `start` at boot, `secrets sync` at any time.
set -eu
seed=/var/lib/slicer-seed

sync_secrets() {
    mkdir -p /run/slicer/secrets
    chmod 0711 /run/slicer/secrets
    find /run/slicer/secrets -mindepth 1 -delete
    if [ -n "$(ls -A "$seed/secrets" 2>/dev/null)" ]; then
        cp -p "$seed"/secrets/* /run/slicer/secrets/
    fi
}

case "${1:-} ${2:-}" in
"start ")
    sync_secrets
    : >/run/slicer/agent-started
    ;;
"secrets sync") sync_secrets ;;
*)
    echo "usage: slicer-agent start | secrets sync" >&2
    exit 2
    ;;
esac
