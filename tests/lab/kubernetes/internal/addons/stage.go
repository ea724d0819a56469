package addons

import (
	_ "embed" // the manifests below
	"os"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
)

//go:embed manifests/coredns.yaml
var coredns string

//go:embed manifests/addons.yaml
var definition string

// packaged are the add-ons that come with the stand-in: of the original's, only what other parts lean on.
var packaged = map[string]string{"coredns": coredns}

// stage writes the packaged manifests into the manifests directory; it returns those that are disabled, to be removed
// from the cluster.
func stage(s *config.Server) (disabled map[string]string, err error) {
	disabled = map[string]string{}
	for name, content := range packaged {
		text := strings.NewReplacer("%{CLUSTER_DOMAIN}%", s.Critical.ClusterDomain, "%{CLUSTER_DNS}%", s.Critical.ClusterDNS).Replace(content)
		path := s.ServerDir("manifests", name+".yaml")
		switch {
		case exists(path + ".skip"):
		case slices.Contains(s.List("disable"), name):
			disabled[name] = text
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				return nil, err
			}
		default:
			logrus.Infof("Writing manifest: %s", path)
			if err := files.Write(path, []byte(text), 0o600); err != nil {
				return nil, err
			}
		}
	}
	return disabled, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
