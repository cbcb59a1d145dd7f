// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"
)

func TestWebhooksAt(t *testing.T) {
	manifests, err := os.ReadFile(filepath.Join("testdata", "manifests.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	transformed, err := TransformManifests(manifests, WebhooksAt("127.0.0.1:9443", []byte("bundle")))
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(string(transformed), "---\n")
	var configuration admissionv1.MutatingWebhookConfiguration
	if err := yaml.UnmarshalStrict([]byte(documents[len(documents)-1]), &configuration); err != nil {
		t.Fatal(err)
	}
	got := configuration.Webhooks[0].ClientConfig
	if got.Service != nil || *got.URL != "https://127.0.0.1:9443/mutate" || string(got.CABundle) != "bundle" {
		t.Errorf("got %+v, want the URL and the bundle", got)
	}
}
