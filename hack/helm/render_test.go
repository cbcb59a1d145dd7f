// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

var update = flag.Bool("update", false, "Write the golden files.")

const (
	namespace = "jobrun-system"
	chartDir  = "../../charts/jobrun"
)

var scheme = runtime.NewScheme()

func init() {
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, certmanagerv1.AddToScheme, monitoringv1.AddToScheme, gatewayv1.Install,
	} {
		utilruntime.Must(add(scheme))
	}
}

var loadChart = sync.OnceValues(func() (*chart.Chart, error) { return loader.LoadDir(chartDir) })

// valuesOf returns the values in a file of testdata/values.
func valuesOf(t *testing.T, name string) map[string]any {
	t.Helper()
	values, err := chartutil.ReadValuesFile(filepath.Join("testdata/values", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// render returns what `helm template` prints.
func render(values map[string]any, namespace string) (string, error) {
	c, err := loadChart()
	if err != nil {
		return "", err
	}
	return renderChart(c, values, namespace)
}

func renderChart(c *chart.Chart, values map[string]any, namespace string) (string, error) {
	rendered, err := releaseOf(c, values, namespace)
	if err != nil {
		return "", err
	}
	return rendered.Manifest, nil
}

// releaseOf returns what `helm install --dry-run` shows.
func releaseOf(c *chart.Chart, values map[string]any, namespace string) (*release.Release, error) {
	install := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	install.DryRun, install.ClientOnly, install.Replace = true, true, true
	install.ReleaseName, install.Namespace = "jobrun", namespace
	install.KubeVersion = &chartutil.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
	return install.Run(c, values)
}

func rendered(t *testing.T, values map[string]any) map[string]unstructured.Unstructured {
	t.Helper()
	manifest, err := render(values, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, manifest)
}

// parse returns the objects of a manifest by kind, namespace and name.
func parse(t *testing.T, manifest string) map[string]unstructured.Unstructured {
	t.Helper()
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	objects := map[string]unstructured.Unstructured{}
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if object.Object == nil {
			continue
		}
		id := fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
		if _, twice := objects[id]; twice {
			t.Errorf("%s is there twice", id)
		}
		objects[id] = object
	}
}

// kustomized returns the objects that kustomize builds from a directory of the project, without the namespace. Helm creates that.
func kustomized(t *testing.T, dir string) map[string]unstructured.Unstructured {
	t.Helper()
	command := exec.Command("go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", dir)
	command.Dir = checkout.Path()
	output, err := command.Output()
	if err != nil {
		t.Fatalf("kustomize build %s: %v", dir, err)
	}
	objects := parse(t, string(output))
	maps.DeleteFunc(objects, func(_ string, o unstructured.Unstructured) bool { return o.GetKind() == "Namespace" })
	return objects
}

// valueSets are the files of testdata/values.
var valueSets = []string{
	"default", "minimal", "cert-manager", "gateway-ingress", "gateway-httproute-monitoring", "namespaced-networkpolicy", "namespaced-gateway",
}

// The API types refuse unknown fields, and fields of another type. The files of testdata/golden are for reviews.
func TestRenderings(t *testing.T) {
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	for _, name := range valueSets {
		t.Run(name, func(t *testing.T) {
			objects := rendered(t, valuesOf(t, name))
			for id, object := range objects {
				text, err := object.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := codecs.UniversalDeserializer().Decode(text, nil, nil); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
			compareGolden(t, name, objects)
		})
	}
}

// compareGolden compares the objects with a golden file. It leaves out the CRDs and the dashboards, which are large.
func compareGolden(t *testing.T, name string, objects map[string]unstructured.Unstructured) {
	t.Helper()
	var out bytes.Buffer
	for _, id := range slices.Sorted(maps.Keys(objects)) {
		found := objects[id]
		object := found.DeepCopy()
		switch object.GetKind() {
		case "CustomResourceDefinition":
			unstructured.RemoveNestedField(object.Object, "spec")
		case "ConfigMap":
			unstructured.RemoveNestedField(object.Object, "data")
		}
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	file := filepath.Join("testdata/golden", name+".yaml")
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("the chart renders something else (-want +got); if that is right: go -C hack/helm test -run Renderings -update .\n%s", diff)
	}
}

// versionLabels are the labels that the chart alone has.
var versionLabels = []string{"app.kubernetes.io/version", "helm.sh/chart"}

// Each object tells the versions. Selectors and Pods do not: a new version of the chart alone restarts no Pod.
func TestVersionLabels(t *testing.T) {
	for _, name := range valueSets {
		for id, object := range rendered(t, valuesOf(t, name)) {
			for _, label := range versionLabels {
				if object.GetLabels()[label] == "" {
					t.Errorf("%s: %s lacks the label %s", name, id, label)
				}
				unstructured.RemoveNestedField(object.Object, "metadata", "labels", label)
				if text, err := object.MarshalJSON(); err != nil || object.GetKind() != "CustomResourceDefinition" && bytes.Contains(text, []byte(label)) {
					t.Errorf("%s: %s has the label %s below its metadata: %v", name, id, label, err)
				}
			}
		}
	}
}

// What the chart shares with config/ is generated. So both install the same.
func TestChartInstallsWhatKustomizeDoes(t *testing.T) {
	monitoring := map[string]any{
		"serviceMonitor": map[string]any{"enabled": true}, "rules": map[string]any{"enabled": true}, "dashboards": map[string]any{"enabled": true},
	}
	for name, tc := range map[string]struct {
		values map[string]any
		dirs   []string
		extra  []string // objects that kustomize does not have
	}{
		"default":    {nil, []string{"config/default"}, nil},
		"gateway":    {map[string]any{"gateway": map[string]any{"enabled": true}}, []string{"config/overlays/gateway"}, nil},
		"monitoring": {map[string]any{"monitoring": monitoring}, []string{"config/default", "config/prometheus"}, nil},
		"cert-manager": {
			map[string]any{"certificates": map[string]any{"provider": "cert-manager"}}, []string{"config/overlays/cert-manager"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := map[string]unstructured.Unstructured{}
			for _, dir := range tc.dirs {
				maps.Copy(want, kustomized(t, dir))
			}
			got := rendered(t, tc.values)
			for id, object := range got {
				for _, label := range versionLabels {
					unstructured.RemoveNestedField(object.Object, "metadata", "labels", label)
				}
				if object.GetKind() == "CustomResourceDefinition" {
					unstructured.RemoveNestedField(object.Object, "metadata", "annotations", "helm.sh/resource-policy")
				}
				got[id] = object
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-kustomize +chart):\n%s", diff)
			}
		})
	}
}

// Wherever config/ names its namespace, the chart has the release's. A name of digits alone must stay a string.
func TestReleaseInAnotherNamespace(t *testing.T) {
	for _, elsewhere := range []string{"platform-jobs", "123"} {
		for _, set := range []string{"default", "cert-manager", "gateway-httproute-monitoring", "namespaced-networkpolicy", "namespaced-gateway"} {
			here, err := render(valuesOf(t, set), namespace)
			if err != nil {
				t.Fatal(err)
			}
			there, err := render(valuesOf(t, set), elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			want := parse(t, strings.ReplaceAll(here, namespace, elsewhere))
			if diff := cmp.Diff(want, parse(t, there)); diff != "" {
				t.Errorf("%s in %s (-want +got):\n%s", set, elsewhere, diff)
			}
		}
	}
}
