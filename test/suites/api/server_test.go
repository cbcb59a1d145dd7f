// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

const namespace = "default"

var server = &envtest.Environment{
	CRDDirectoryPaths:     []string{checkout.Path("config", "crd", "bases")},
	ErrorIfCRDPathMissing: true,
}

// config starts the API server at its first call.
var config = sync.OnceValues(func() (*rest.Config, error) {
	assets, err := checkout.Assets()
	if err != nil {
		return nil, err
	}
	server.BinaryAssetsDirectory = assets
	if _, err := os.Stat(filepath.Join(server.BinaryAssetsDirectory, "kube-apiserver")); err != nil {
		return nil, fmt.Errorf("these tests need an API server: run `make k8s` first (%w)", err)
	}
	config, err := server.Start()
	if err == nil {
		config.QPS = -1
	}
	return config, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the API server:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func newConfig(t *testing.T) *rest.Config {
	t.Helper()
	config, err := config()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(newConfig(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// object makes an object from YAML, so that tests can send what the Go types cannot express.
func object(t *testing.T, kind, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	o.SetNamespace(namespace)
	if o.GetName() == "" {
		o.SetGenerateName("test-")
	}
	return o
}

// create creates the object. It fails the test if the API server refuses the object.
func create(t *testing.T, kind, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := object(t, kind, manifest)
	if err := newClient(t).Create(context.Background(), o); err != nil {
		t.Fatalf("create %s: %v", manifest, err)
	}
	return o
}

// patch applies a merge patch, in YAML.
func patch(t *testing.T, o client.Object, manifest string) error {
	t.Helper()
	return newClient(t).Patch(context.Background(), o, mergePatch(t, manifest))
}

// patchStatus applies a merge patch of the status, in YAML, to the status subresource.
func patchStatus(t *testing.T, o client.Object, status string) error {
	t.Helper()
	return newClient(t).Status().Patch(context.Background(), o, mergePatch(t, "status: "+status))
}

func mustPatchStatus(t *testing.T, o client.Object, statuses ...string) {
	t.Helper()
	for _, status := range statuses {
		if err := patchStatus(t, o, status); err != nil {
			t.Fatalf("patch status %s: %v", status, err)
		}
	}
}

func mergePatch(t *testing.T, manifest string) client.Patch {
	t.Helper()
	json, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return client.RawPatch(types.MergePatchType, json)
}

// refusal is the field, and a part of the message, that the API server's answer must contain. The zero value means
// that the API server must accept the request.
type refusal struct{ field, message string }

func (want refusal) check(t *testing.T, err error) {
	t.Helper()
	if want == (refusal{}) {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if err == nil {
		t.Errorf("accepted, want a refusal of %s: %s", want.field, want.message)
		return
	}
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		t.Errorf("want a 422 with causes, got %v", err)
		return
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Field == want.field && strings.Contains(cause.Message, want.message) {
			return
		}
	}
	t.Errorf("want a cause with field %q and message %q, got %s", want.field, want.message, causes(status.Status()))
}

func causes(status metav1.Status) string {
	var s strings.Builder
	for _, cause := range status.Details.Causes {
		fmt.Fprintf(&s, "\n  field %q: %s", cause.Field, cause.Message)
	}
	return s.String()
}
