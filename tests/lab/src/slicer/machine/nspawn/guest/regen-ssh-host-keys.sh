#!/bin/sh
# Makes the host keys of this VM: without RSA, which takes longer than all the rest of the boot.
set -eu
rm -f /etc/ssh/ssh_host_*
for kind in ed25519 ecdsa; do
    ssh-keygen -q -N '' -t "$kind" -f "/etc/ssh/ssh_host_${kind}_key"
done
touch /etc/slicer/host-keys-made
