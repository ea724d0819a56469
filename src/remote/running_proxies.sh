# The proxy variables that a unit's main process was started with, "NAME SHA256-OF-ITS-VALUE" a line, and "NAME elsewhere" for
# those that something else than our own files sets: systemd itself, the unit's text, or any other environment file.
unit={}
pid=$(systemctl show -p MainPID --value -- "$unit") && [ "$pid" -gt 0 ] || exit
has=$(tr '\0' '\n' <"/proc/$pid/environ" | grep -E '^(NO|HTTP|HTTPS)_PROXY=')
[ -n "$has" ] || exit 0
printf '%s\n' "$has" | while IFS= read -r line; do
    echo "${line%%=*} $(printf %s "${line#*=}" | sha256sum | cut -d ' ' -f 1)"
done
text=$(systemctl show -p Environment --value -- "$unit")
files=$(systemctl show -p EnvironmentFiles --value -- "$unit" | sed 's/ (ignore_errors=[a-z]*)$//')
set=$(systemctl show-environment
    printf '%s\n' "$text" | tr ' ' '\n'
    printf '%s\n' "$files" | while IFS= read -r file; do
        case $file in */k3s.service.env | '') continue ;; esac
        head -n 1 -- "$file" 2>/dev/null | grep -q '^# Written by slicer-k3s' || cat -- "$file" 2>/dev/null
        echo
    done)
for name in NO_PROXY HTTP_PROXY HTTPS_PROXY; do
    # systemd does not show values with blanks.
    case $text in *'[unprintable]'*) echo "$name elsewhere" && continue ;; esac
    printf '%s\n' "$set" | grep -qE "^[[:blank:]]*$name=" && echo "$name elsewhere"
done
true
