#!/bin/sh
# Makes the host keys of this VM: without RSA, which takes longer than all the rest of the boot.
set -eu
# shellcheck source=/dev/null
. /etc/slicer/variant
rm -f /etc/ssh/ssh_host_*
for kind in ed25519 ecdsa; do
    ssh-keygen -q -N '' -t "$kind" -f "/etc/ssh/ssh_host_${kind}_key"
done
if [ "$HOST_KEYS" = baked ] && [ "${1-}" != late ]; then
    # These count as the image's: sshd shows them until the VM's own take their place.
    systemd-run -q --collect sh -c "sleep 2; '$0' late && systemctl try-restart ssh"
    exit 0
fi
touch /etc/slicer/host-keys-made
