package provider

import "strings"

// secretName is the Slicer secret through which VMs learn the join token; VMs find it under /run/slicer/secrets.
const secretName = "k3s-token"

// userdata is the script that joins a new VM. It starts with an empty line, installs whatever k3s release is stable
// at that moment, and neither retries nor fails when the download does: troubleshooting has to cope with all three.
func userdata(k3sURL, group string) string {
	return strings.NewReplacer("@URL@", k3sURL, "@GROUP@", group, "@SECRET@", secretName).Replace(`
#!/bin/bash
# Joins this VM to the cluster as a worker.
export HOSTNAME=$(hostname)
export K3S_TOKEN=$(cat /run/slicer/secrets/@SECRET@)
export K3S_URL="@URL@"
curl -sfL https://get.k3s.io | sh -s - \
  --with-node-id \
  --node-label slicer/hostgroup=@GROUP@ \
  --node-label k3sup.dev/node-type=agent \
  --node-label slicer/hostname=$HOSTNAME
`)
}
