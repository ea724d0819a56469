#!/bin/sh
# Prints the digest that a registry has for a tag, as `sha256:…`. Public images only want a token to be asked for; it
# travels in curl's configuration on stdin, not in a command line.
# shellcheck disable=SC1083 # quoted words come to these places
registry={} repository={} tag={}
types='application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json'
ask() {
    {
        echo "header = \"Accept: $types\""
        if [ -n "$1" ]; then echo "header = \"Authorization: Bearer $1\""; fi
    } | curl -sS -m 8 --proto =https -o /dev/null -D - -K - -- "https://$registry/v2/$repository/manifests/$tag" | tr -d '\r'
}
field() { sed -n "s/^[Ww][Ww][Ww]-[Aa]uthenticate:.*[ ,]$1=\"\([^\"]*\)\".*/\1/p" | head -n 1; }
answer=$(ask '')
# Nothing at all: curl has said why.
[ -n "$answer" ] || exit 1
realm=$(echo "$answer" | field realm)
if [ -n "$realm" ]; then
    service=$(echo "$answer" | field service)
    token=$(curl -sSf -m 8 --proto =https -G --data-urlencode "service=$service" \
        --data-urlencode "scope=repository:$repository:pull" -- "$realm" |
        tr -d '\n' | sed -n 's/.*"token" *: *"\([A-Za-z0-9._~+/=-]*\)".*/\1/p')
    if [ -z "$token" ]; then echo "$registry gave no token" >&2; exit 1; fi
    answer=$(ask "$token")
fi
digest=$(echo "$answer" | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: *\(sha256:[0-9a-f]\{64\}\)$/\1/p' | head -n 1)
if [ -z "$digest" ]; then echo "$registry answered: $(echo "$answer" | head -n 1)" >&2; exit 1; fi
echo "$digest"
