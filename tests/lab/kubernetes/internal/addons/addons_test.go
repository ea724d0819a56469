package addons

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A manifest that does not parse would be an add-on that is missing, which a test of add-ons would take for one that left.
func TestPackagedManifestsAreObjects(t *testing.T) {
	kinds := map[string]int{}
	err := each(packaged, "manifests", func(name string, content []byte) error {
		objects, err := parse(content)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		for kind, found := range objects.ObjectsByGVK() {
			kinds[kind.Kind] += len(found)
		}
		return nil
	})
	if err != nil || kinds["Deployment"] != 3 || kinds["HelmChart"] != 2 || kinds["APIService"] != 1 {
		t.Errorf("%v %v", kinds, err)
	}
	if objects, err := parse([]byte(definition)); err != nil || objects.Len() != 1 {
		t.Errorf("the Addon kind: %v", err)
	}
}

// Helm finds a chart by the directory of its first file.
func TestChartsArePackedAsHelmReadsThem(t *testing.T) {
	for _, name := range []string{"traefik", "traefik-crd"} {
		packed, err := pack(name)
		if err != nil {
			t.Fatal(err)
		}
		zipped, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		archive, files := tar.NewReader(zipped), map[string]string{}
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			content, _ := io.ReadAll(archive)
			files[header.Name] = string(content)
		}
		if len(files) < 2 || !bytes.Contains([]byte(files[name+"/Chart.yaml"]), []byte(`version: "`+chartVersion+`"`)) {
			t.Errorf("%s: %v", name, files)
		}
	}
}

// `disable` names a file or a directory, and a .skip file beside a manifest keeps it from being applied.
func TestManifestsAreFoundWithTheirDirectory(t *testing.T) {
	base := t.TempDir()
	for _, name := range []string{"a.yaml", "metrics-server/b.yml", "c.json", "c.json.skip", ".new-1.yaml", "note.txt"} {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := manifests(base)
	if err != nil || len(found) != 3 {
		t.Fatalf("%v %v", found, err)
	}
	if a, c, b := found[0], found[1], found[2]; a.addon() != "a" || a.directory != "" || a.skipped || !c.skipped || b.addon() != "b" || b.directory != "metrics-server" {
		t.Errorf("%v", found)
	}
}
