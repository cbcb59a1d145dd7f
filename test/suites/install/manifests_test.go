// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

var root = checkout.Path()

const namespace = "jobrun-system"

// manifests are the objects in YAML that kustomize built.
type manifests []unstructured.Unstructured

// installer is what `make build-installer` writes.
var installer = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "jobrun-dist-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if _, err := output(exec.Command("make", "-f", "hack/make/deploy.mk", "build-installer", "DIST="+dir, "IMG="+testImage)); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "install.yaml"))
})

// testImage has every part that the name of an image can have.
const testImage = "registry.example:5000/team/jobrun:v9@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func installed(t *testing.T) manifests {
	t.Helper()
	yaml, err := installer()
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, yaml)
}

// kustomized returns what the project's kustomize builds from a directory of the project.
func kustomized(t *testing.T, dir string) []byte {
	t.Helper()
	yaml, err := output(exec.Command("go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", dir))
	if err != nil {
		t.Fatal(err)
	}
	return yaml
}

// output runs a command in the project's directory and returns its output.
func output(command *exec.Cmd) ([]byte, error) {
	command.Dir = root
	out, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = errors.New(command.String() + ": " + err.Error() + "\n" + string(exit.Stderr))
	}
	return out, err
}

func parse(t *testing.T, yaml []byte) manifests {
	t.Helper()
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(yaml), 4096)
	var objects manifests
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if object.Object != nil {
			objects = append(objects, object)
		}
	}
}

func (m manifests) has(kind, name string) bool {
	for _, object := range m {
		if object.GetKind() == kind && object.GetName() == name {
			return true
		}
	}
	return false
}

// all returns the objects of a kind.
func all[T any](t *testing.T, m manifests, kind string) []T {
	t.Helper()
	var found []T
	for _, object := range m {
		if object.GetKind() != kind {
			continue
		}
		var typed T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &typed, true); err != nil {
			t.Fatalf("%s %s: %v", kind, object.GetName(), err)
		}
		found = append(found, typed)
	}
	return found
}

// the returns the only object of a kind.
func the[T any](t *testing.T, m manifests, kind string) T {
	t.Helper()
	found := all[T](t, m, kind)
	if len(found) != 1 {
		t.Fatalf("there are %d objects of kind %s, not one", len(found), kind)
	}
	return found[0]
}
