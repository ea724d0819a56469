package addons

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rancher/wrangler/v3/pkg/objectset"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// manifest is a file below the manifests directory.
type manifest struct {
	path string
	// directory is the first one below the base, if any: one may be disabled as a whole.
	directory string
	modified  time.Time
	// skipped: a file PATH.skip lies beside it.
	skipped bool
}

// addon is the name of the Addon that stands for it.
func (m manifest) addon() string {
	name, _, _ := strings.Cut(filepath.Base(m.path), ".")
	return name
}

func (m manifest) read() (content []byte, checksum string, err error) {
	content, err = os.ReadFile(m.path)
	sum := sha256.Sum256(content)
	return content, hex.EncodeToString(sum[:]), err
}

func (m manifest) delete() error { return os.Remove(m.path) }

func manifests(base string) ([]manifest, error) {
	found := []manifest{}
	err := filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".yaml", ".yml", ".json":
		default:
			return nil
		}
		about, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(base, path)
		if err != nil {
			return err
		}
		directory, _, nested := strings.Cut(relative, string(filepath.Separator))
		if !nested {
			directory = ""
		}
		found = append(found, manifest{path: path, directory: directory, modified: about.ModTime(), skipped: exists(path + ".skip")})
		return nil
	})
	return found, err
}

// parse reads the objects of a manifest, those of lists too.
func parse(content []byte) (*objectset.ObjectSet, error) {
	objects := []runtime.Object{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objectset.NewObjectSet(objects...), nil
		} else if err != nil {
			return nil, err
		}
		switch {
		case len(object.Object) == 0:
		case object.IsList():
			if err := object.EachListItem(func(item runtime.Object) error {
				objects = append(objects, item)
				return nil
			}); err != nil {
				return nil, err
			}
		default:
			objects = append(objects, object)
		}
	}
}
