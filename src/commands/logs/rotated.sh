# A container's log as the kubelet has moved it aside, oldest first and without the runtime's own words before each line.
# kubectl shows only the file that is written to now. DIRECTORY, the container's restarts, and for how many seconds (0: all).
d={} n={} since={} cut=
[ "$since" -eq 0 ] || cut=$(date -d "@$(($(date +%s) - since))" +%Y-%m-%dT%H:%M:%S) || exit
[ -d "$d" ] || { echo "$d does not exist on $(hostname)" >&2; exit 1; }
for f in "$d/$n.log".*; do
  [ -e "$f" ] || continue
  case $f in
    *.tmp) ;;
    *.gz) gzip -dc -- "$f" ;;
    *) cat -- "$f" ;;
  esac
done | LC_ALL=C awk -v cut="$cut" '$1 >= cut { sub(/^[^ ]+ [^ ]+ [FP][^ ]* /, ""); print }'
