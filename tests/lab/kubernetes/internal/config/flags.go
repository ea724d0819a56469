package config

// kind says how a flag's value is read.
type kind int

const (
	text    kind = iota // one value; the last one given wins
	boolean             // true when given without a value
	list                // may be given many times
	csv                 // a list whose items may also be joined by commas
)

// flag is one setting, named as on k3s's command line and in its configuration file.
type flag struct {
	kind kind
	env  string
	role role
}

// role says which subcommands know the flag.
type role int

const (
	server role = 1 << iota
	agent
	both = server | agent
)

// flags is every setting that k3s documents; what the stand-in does not act on is accepted all the same, because a
// configuration that k3s takes must not fail here.
var flags = map[string]flag{
	"config": {text, "K3S_CONFIG_FILE", both}, "debug": {boolean, "K3S_DEBUG", both}, "v": {text, "", both},
	"vmodule": {text, "", both}, "log": {text, "", both}, "alsologtostderr": {boolean, "", both},
	"data-dir": {text, "K3S_DATA_DIR", both}, "token": {text, "K3S_TOKEN", both}, "token-file": {text, "K3S_TOKEN_FILE", both},
	"server": {text, "K3S_URL", both}, "node-name": {text, "K3S_NODE_NAME", both}, "with-node-id": {boolean, "", both},
	"node-label": {list, "", both}, "node-taint": {list, "", both}, "node-ip": {csv, "", both}, "node-external-ip": {csv, "", both},
	"node-internal-dns": {csv, "", both}, "node-external-dns": {csv, "", both},
	"kubelet-arg": {list, "", both}, "kube-proxy-arg": {list, "", both}, "private-registry": {text, "", both},
	"pause-image": {text, "", both}, "snapshotter": {text, "", both}, "resolv-conf": {text, "K3S_RESOLV_CONF", both},
	"flannel-iface": {text, "", both}, "flannel-conf": {text, "", both}, "flannel-cni-conf": {text, "", both},
	"protect-kernel-defaults": {boolean, "", both}, "selinux": {boolean, "K3S_SELINUX", both}, "lb-server-port": {text, "K3S_LB_SERVER_PORT", both},
	"docker": {boolean, "", both}, "container-runtime-endpoint": {text, "", both}, "default-runtime": {text, "", both},
	"image-credential-provider-bin-dir": {text, "", both}, "image-credential-provider-config": {text, "", both},
	"prefer-bundled-bin": {boolean, "", both}, "rootless": {boolean, "", both}, "vpn-auth": {text, "K3S_VPN_AUTH", both},
	"vpn-auth-file": {text, "K3S_VPN_AUTH_FILE", both}, "enable-pprof": {boolean, "", both}, "image-service-endpoint": {text, "", both},
	"disable-default-registry-endpoint": {boolean, "", both}, "nonroot-devices": {boolean, "", both}, "bind-address": {text, "", both},
	"disable-apiserver-lb": {boolean, "", agent},

	"cluster-init": {boolean, "K3S_CLUSTER_INIT", server}, "cluster-reset": {boolean, "K3S_CLUSTER_RESET", server},
	"cluster-reset-restore-path": {text, "", server}, "agent-token": {text, "K3S_AGENT_TOKEN", server},
	"agent-token-file": {text, "K3S_AGENT_TOKEN_FILE", server}, "tls-san": {csv, "", server}, "tls-san-security": {boolean, "", server},
	"https-listen-port": {text, "", server}, "advertise-address": {text, "", server}, "advertise-port": {text, "", server},
	"cluster-cidr": {csv, "", server}, "service-cidr": {csv, "", server}, "service-node-port-range": {text, "", server},
	"cluster-dns": {csv, "", server}, "cluster-domain": {text, "", server}, "flannel-backend": {text, "", server},
	"flannel-ipv6-masq": {boolean, "", server}, "flannel-external-ip": {boolean, "", server}, "egress-selector-mode": {text, "", server},
	"servicelb-namespace": {text, "", server}, "write-kubeconfig": {text, "K3S_KUBECONFIG_OUTPUT", server},
	"write-kubeconfig-mode": {text, "K3S_KUBECONFIG_MODE", server}, "write-kubeconfig-group": {text, "K3S_KUBECONFIG_GROUP", server},
	"helm-job-image": {text, "", server}, "disable": {csv, "", server}, "disable-scheduler": {boolean, "", server},
	"disable-cloud-controller": {boolean, "", server}, "disable-kube-proxy": {boolean, "", server},
	"disable-network-policy": {boolean, "", server}, "disable-helm-controller": {boolean, "", server},
	"disable-apiserver": {boolean, "", server}, "disable-controller-manager": {boolean, "", server}, "disable-etcd": {boolean, "", server},
	"disable-agent": {boolean, "", server}, "embedded-registry": {boolean, "", server}, "supervisor-metrics": {boolean, "", server},
	"secrets-encryption": {boolean, "", server}, "secrets-encryption-provider": {text, "", server},
	"kube-apiserver-arg": {list, "", server}, "kube-controller-manager-arg": {list, "", server}, "kube-scheduler-arg": {list, "", server},
	"kube-cloud-controller-manager-arg": {list, "", server}, "etcd-arg": {list, "", server}, "default-local-storage-path": {text, "", server},
	"system-default-registry": {text, "", server}, "kine-tls": {boolean, "", server}, "enable-cloud-provider": {boolean, "", server},
	"datastore-endpoint": {text, "K3S_DATASTORE_ENDPOINT", server}, "datastore-cafile": {text, "K3S_DATASTORE_CAFILE", server},
	"datastore-certfile": {text, "K3S_DATASTORE_CERTFILE", server}, "datastore-keyfile": {text, "K3S_DATASTORE_KEYFILE", server},
	"etcd-expose-metrics": {boolean, "", server}, "etcd-disable-snapshots": {boolean, "", server}, "etcd-snapshot-name": {text, "", server},
	"etcd-snapshot-schedule-cron": {text, "", server}, "etcd-snapshot-retention": {text, "", server}, "etcd-snapshot-dir": {text, "", server},
	"etcd-snapshot-compress": {boolean, "", server}, "etcd-s3": {boolean, "", server}, "etcd-s3-endpoint": {text, "", server},
	"etcd-s3-endpoint-ca": {text, "", server}, "etcd-s3-skip-ssl-verify": {boolean, "", server}, "etcd-s3-access-key": {text, "AWS_ACCESS_KEY_ID", server},
	"etcd-s3-secret-key": {text, "AWS_SECRET_ACCESS_KEY", server}, "etcd-s3-bucket": {text, "", server}, "etcd-s3-region": {text, "", server},
	"etcd-s3-folder": {text, "", server}, "etcd-s3-insecure": {boolean, "", server}, "etcd-s3-timeout": {text, "", server},
	"etcd-s3-proxy": {text, "", server}, "etcd-s3-config-secret": {text, "", server}, "etcd-s3-session-token": {text, "AWS_SESSION_TOKEN", server},
	"etcd-s3-bucket-lookup-type": {text, "", server}, "etcd-s3-retention": {text, "", server},
}

// aliases are the short names of the command line.
var aliases = map[string]string{"c": "config", "d": "data-dir", "t": "token", "s": "server", "i": "node-ip", "l": "log", "o": "write-kubeconfig"}
