// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package krew has the manifest by which krew installs the plugin.
package krew

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// plugin is what krew reads (its API v1alpha2).
type plugin struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string     `json:"version"`
		Homepage         string     `json:"homepage"`
		ShortDescription string     `json:"shortDescription"`
		Description      string     `json:"description"`
		Caveats          string     `json:"caveats"`
		Platforms        []platform `json:"platforms"`
	} `json:"spec"`
}

type platform struct {
	Selector struct {
		MatchLabels map[string]string `json:"matchLabels"`
	} `json:"selector"`
	URI    string `json:"uri"`
	SHA256 string `json:"sha256"`
	Bin    string `json:"bin"`
}

func TestManifest(t *testing.T) {
	content, err := os.ReadFile("jobrun.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var p plugin
	if err := yaml.UnmarshalStrict(content, &p); err != nil {
		t.Fatal(err)
	}
	if p.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || p.Kind != "Plugin" || p.Metadata.Name != "jobrun" {
		t.Errorf("it is the %s %s %q", p.APIVersion, p.Kind, p.Metadata.Name)
	}
	// krew refuses to list what is longer.
	if l := len(p.Spec.ShortDescription); l == 0 || l > 50 || strings.HasSuffix(p.Spec.ShortDescription, ".") {
		t.Errorf("the short description %q does not suit krew", p.Spec.ShortDescription)
	}
	if len(p.Spec.Platforms) == 0 {
		t.Error("it has no platform")
	}
	for _, platform := range p.Spec.Platforms {
		name := platform.Selector.MatchLabels["os"] + "_" + platform.Selector.MatchLabels["arch"]
		archive := "https://github.com/jobrun-dev/jobrun/releases/download/@VERSION@/kubectl-jobrun_" + name + ".tar.gz"
		if platform.URI != archive || platform.SHA256 != "@SHA256_"+name+"@" {
			t.Errorf("%s has the archive %s with %s", name, platform.URI, platform.SHA256)
		}
		if windows := strings.HasPrefix(name, "windows"); (platform.Bin == "kubectl-jobrun.exe") != windows {
			t.Errorf("%s has the binary %s", name, platform.Bin)
		}
	}
}
