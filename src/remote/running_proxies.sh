# The proxy variables that a unit's main process was started with, "NAME SHA256-OF-ITS-VALUE" a line, and "NAME elsewhere" for
# those that systemd or the unit's own lines set, whatever its environment files say.
pid=$(systemctl show -p MainPID --value -- {}) && [ "$pid" -gt 0 ] || exit
names='NO_PROXY HTTP_PROXY HTTPS_PROXY'
has=$(tr '\0' '\n' <"/proc/$pid/environ" | grep -E '^(NO|HTTP|HTTPS)_PROXY=')
[ -n "$has" ] || exit 0
printf '%s\n' "$has" | while IFS= read -r line; do
    echo "${line%%=*} $(printf %s "${line#*=}" | sha256sum | cut -d ' ' -f 1)"
done
set=$(systemctl show-environment; systemctl show -p Environment --value -- {} | tr ' ' '\n'; cat /etc/sysconfig/k3s 2>/dev/null)
for name in $names; do
    printf '%s\n' "$set" | grep -q "^$name=" && echo "$name elsewhere"
done
true
