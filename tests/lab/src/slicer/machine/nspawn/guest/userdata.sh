#!/bin/bash
# Runs the first boot's script, once, and leaves its exit code in the marker.
seed=/var/lib/slicer-seed/userdata
script=/etc/slicer/userdata
# shellcheck source=/dev/null
. /etc/slicer/variant
if [ ! -s "$seed" ]; then
    [ "$WITHOUT" = never ] || echo 0 >/etc/slicer/userdata-ran
    exit 0
fi
install -m 0700 "$seed" "$script"
export TARGET_USER=ubuntu HOME=/root USER=root
cd /root || exit 1
if [ "$BLANK_LINE" = fatal ] && [ "$(head -c 2 "$script")" != '#!' ]; then
    echo "userdata: exec format error"
    code=126
else
    bash "$script"
    code=$?
fi
echo "userdata: ended with exit code $code"
echo "$code" >/etc/slicer/userdata-ran
exit 0
