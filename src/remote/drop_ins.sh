# k3s's own drop-ins, in the order in which it reads them: a heading `== NAME`, then the file's lines, each behind a blank. The
# last line is `== end`: without it the answer was cut, or a file could not be read. $r is set in tests only.
LC_ALL=C
export LC_ALL
for file in "${r-}/etc/rancher/k3s/config.yaml.d"/.[!.]* "${r-}/etc/rancher/k3s/config.yaml.d"/*; do
    case $file in
    *.[yY][aA][mM][lL] | *.[yY][mM][lL]) ;;
    *) continue ;;
    esac
    if [ ! -e "$file" ] || [ -d "$file" ]; then continue; fi
    text=$(cat -- "$file") || exit 3
    echo "== $(printf %s "${file##*/}" | tr '\n' '?')"
    printf '%s\n' "$text" | sed 's/^/ /'
done
echo '== end'
