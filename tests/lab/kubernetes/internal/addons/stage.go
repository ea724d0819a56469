package addons

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/sirupsen/logrus"

	"slicer-k3s.lab/kubernetes/internal/config"
	"slicer-k3s.lab/kubernetes/internal/files"
)

// packaged are the add-ons that come with the stand-in, at their paths below the manifests directory.
//
//go:embed manifests
var packaged embed.FS

// charts are what packaged HelmCharts install: directories that become archives which each server serves.
//
//go:embed charts
var charts embed.FS

// chartVersion is that of k3s@bp_jun_1.34 manifests/traefik.yaml, as archives are named.
const chartVersion = "40.1.3+up40.1.0"

// definition is the Addon kind, which is no add-on itself.
//
//go:embed addon-kind.yaml
var definition string

// stage writes the packaged manifests and charts to where the original has them. A manifest that is disabled is not
// written; one that was written before is the watcher's to remove.
func stage(s *config.Server) error {
	for _, name := range []string{"traefik", "traefik-crd"} {
		archive, err := pack(name)
		if err != nil {
			return err
		}
		if err := files.Write(s.ServerDir("static", "charts", name+"-"+chartVersion+".tgz"), archive, 0o600); err != nil {
			return err
		}
	}
	replace := strings.NewReplacer(
		"%{CLUSTER_DOMAIN}%", s.Critical.ClusterDomain, "%{CLUSTER_DNS}%", s.Critical.ClusterDNS,
		"%{CHART_VERSION}%", chartVersion,
	)
	disabled := disables(s)
	return each(packaged, "manifests", func(name string, content []byte) error {
		top, _, _ := strings.Cut(name, "/")
		if disabled[strings.TrimSuffix(top, path.Ext(top))] {
			return nil
		}
		target := s.ServerDir("manifests", name)
		if exists(target + ".skip") {
			return nil
		}
		logrus.Infof("Writing manifest: %s", target)
		return files.Write(target, []byte(replace.Replace(string(content))), 0o600)
	})
}

func disables(s *config.Server) map[string]bool {
	disabled := map[string]bool{}
	for _, name := range s.List("disable") {
		disabled[name] = true
	}
	return disabled
}

// pack makes the archive of a chart.
func pack(name string) ([]byte, error) {
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	err := each(charts, path.Join("charts", name), func(file string, content []byte) error {
		content = bytes.ReplaceAll(content, []byte("%{CHART_VERSION}%"), []byte(chartVersion))
		if err := archive.WriteHeader(&tar.Header{Name: path.Join(name, file), Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipped.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// each visits the files below a directory by their paths relative to it.
func each(from embed.FS, base string, visit func(name string, content []byte) error) error {
	return fs.WalkDir(from, base, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := from.ReadFile(name)
		if err != nil {
			return err
		}
		return visit(strings.TrimPrefix(name, base+"/"), content)
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
