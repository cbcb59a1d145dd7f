// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package krew has the manifest by which krew installs the plugin.
package krew

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
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

func parse(t *testing.T, file string) (plugin, string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p plugin
	if err := yaml.UnmarshalStrict(content, &p); err != nil {
		t.Fatal(err)
	}
	return p, string(content)
}

func TestManifest(t *testing.T) {
	p, _ := parse(t, "jobrun.yaml")
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

// The script of the release is run with a compiler that writes what it was asked for.
func TestReleaseFillsTheManifest(t *testing.T) {
	dir := t.TempDir()
	compiler := "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = -o ] && out=$2; shift; done\necho \"for $GOOS/$GOARCH\" > \"$out\"\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(compiler), 0o755); err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(dir, "dist")
	release := func(version string) (string, error) {
		command := exec.Command("../../hack/krew/release.sh", version, dist)
		command.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		output, err := command.CombinedOutput()
		return string(output), err
	}
	if output, err := release("1a2b3c4-dirty"); err == nil {
		t.Errorf("it released a version that krew does not take:\n%s", output)
	}
	if output, err := release("v1.2.3"); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	p, text := parse(t, filepath.Join(dist, "jobrun.yaml"))
	if left := regexp.MustCompile(`@\w+@`).FindString(text); left != "" {
		t.Errorf("%s was not filled", left)
	}
	if p.Spec.Version != "v1.2.3" {
		t.Errorf("the version is %s", p.Spec.Version)
	}
	for _, platform := range p.Spec.Platforms {
		archive := filepath.Join(dist, path.Base(platform.URI))
		checkSum(t, archive, platform.SHA256)
		want := "for " + platform.Selector.MatchLabels["os"] + "/" + platform.Selector.MatchLabels["arch"] + "\n"
		if got := unpack(t, archive, platform.Bin); got != want {
			t.Errorf("%s holds %q, want %q", archive, got, want)
		}
	}
}

func checkSum(t *testing.T, file, want string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want {
		t.Errorf("the sum of %s is %x, and the manifest has %s", file, sum, want)
	}
}

// unpack returns the content of the binary in an archive. The license is the file after it.
func unpack(t *testing.T, archive, name string) string {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	reader := tar.NewReader(unzipped)
	header, err := reader.Next()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if header.Name != name || header.FileInfo().Mode().Perm()&0o400 == 0 {
		t.Errorf("%s holds %s with mode %v, want %s", archive, header.Name, header.FileInfo().Mode(), name)
	}
	if license, err := reader.Next(); err != nil || license.Name != "LICENSE" {
		t.Errorf("%s holds no LICENSE after %s: %v", archive, name, err)
	}
	return string(content)
}
