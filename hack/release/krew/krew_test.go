// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package krew

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// manifest is what the tests compare of a krew manifest.
type manifest struct {
	Spec struct {
		Version   string `json:"version"`
		Platforms []struct {
			Selector struct {
				MatchLabels map[string]string `json:"matchLabels"`
			} `json:"selector"`
			URI    string `json:"uri"`
			SHA256 string `json:"sha256"`
		} `json:"platforms"`
	} `json:"spec"`
}

func template(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../config/krew/jobrun.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPlatforms(t *testing.T) {
	want := []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}
	if got := Platforms(template(t)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFill(t *testing.T) {
	sums := map[string]string{}
	for i, platform := range Platforms(template(t)) {
		sums[platform] = strings.Repeat(string(rune('a'+i)), 64)
	}
	filled, err := Fill(template(t), "v1.2.3", sums)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(filled, "make build-plugin") {
		t.Error("the manifest of a release tells how to make a release")
	}
	var got manifest
	if err := yaml.Unmarshal([]byte(filled), &got); err != nil {
		t.Fatal(err)
	}
	if got.Spec.Version != "v1.2.3" || len(got.Spec.Platforms) != len(sums) {
		t.Errorf("version %q with %d platforms", got.Spec.Version, len(got.Spec.Platforms))
	}
	for _, p := range got.Spec.Platforms {
		platform := p.Selector.MatchLabels["os"] + "/" + p.Selector.MatchLabels["arch"]
		if p.SHA256 != sums[platform] {
			t.Errorf("%s has the sum %s, want %s", platform, p.SHA256, sums[platform])
		}
		if want := "https://github.com/jobrun-dev/jobrun/releases/download/v1.2.3/" + Archive(platform); p.URI != want {
			t.Errorf("%s comes from %s, want %s", platform, p.URI, want)
		}
	}
}

func TestFillNamesWhatIsMissing(t *testing.T) {
	_, err := Fill(template(t), "v1.2.3", map[string]string{"linux/amd64": "a"})
	if err == nil || !strings.Contains(err.Error(), "@SHA256_linux_arm64@") {
		t.Errorf("got %v, want an error that names linux_arm64", err)
	}
}
