d={} y={}
# A process shows what links have led to.
d=$(readlink -f -- "$d" || echo "$d") y=$(readlink -f -- "$y" || echo "$y")
for p in /proc/[0-9]*; do
    read -r name 2>/dev/null <"$p/comm" && [ "$name" = slicer ] || continue
    [ "$(readlink "$p/cwd" 2>/dev/null)" = "$d" ] || continue
    # The words after `slicer up`: one of them is the file.
    tr '\000' '\n' 2>/dev/null <"$p/cmdline" | tail -n +3 | while read -r word; do
        case $word in -*) continue ;; /*) ;; *) word=$d/$word ;; esac
        [ "$(readlink -f "$word" 2>/dev/null)" = "$y" ] && echo "${p#/proc/}"
    done
done
:
