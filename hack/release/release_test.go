// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

func TestCheckVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"v0.2.0": true, "v1.0.0-rc.1": true,
		"": false, "0.2.0": false, "v0.2": false, "v1": false, "v01.2.3": false, "v1.2.3+build": false, "1a2b3c4-dirty": false, "v1.2.3\t": false,
	} {
		if err := checkVersion(version); (err == nil) != ok {
			t.Errorf("%q: %v", version, err)
		} else if err != nil && !strings.Contains(err.Error(), "VERSION="+version) {
			t.Errorf("%q: %v does not name it", version, err)
		}
	}
}

// repository is a git repository with one commit that can be released as v0.2.0.
type repository struct {
	t *testing.T
	settings
}

func newRepository(t *testing.T) repository {
	r := repository{t, settings{root: t.TempDir(), version: "v0.2.0"}}
	r.dist = filepath.Join(t.TempDir(), "dist")
	r.put("CHANGELOG.md", "# Changelog\n\n## v0.2.0 - 2026-12-01\n\n- See [a](docs/a.md).\n")
	r.git("init", "--quiet")
	r.commit()
	return r
}

func (r repository) put(file, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.root, file), []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r repository) git(args ...string) {
	r.t.Helper()
	command := exec.Command("git", append([]string{"-C", r.root, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
	command.Env = append(os.Environ(), "GIT_COMMITTER_DATE=1700000000 +0000", "GIT_CONFIG_GLOBAL=/dev/null")
	if output, err := command.CombinedOutput(); err != nil {
		r.t.Fatalf("git %q: %v\n%s", args, err, output)
	}
}

func (r repository) commit() {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message=a")
}

func (r repository) check() error { return runCheck(r.t.Context(), r.settings, io.Discard, io.Discard) }

func TestCheckPasses(t *testing.T) {
	r := newRepository(t)
	if err := r.check(); err != nil {
		t.Error(err)
	}
	r.git("tag", "--annotate", "--message=a", "v0.2.0")
	if err := r.check(); err != nil {
		t.Errorf("with the tag at this commit: %v", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		breaks func(r *repository)
		want   string
	}{
		"a bad version":       {func(r *repository) { r.version = "0.2.0" }, "VERSION=0.2.0: a release needs a semantic version"},
		"a change":            {func(r *repository) { r.put("CHANGELOG.md", "# Changelog\n\n## v0.2.0\n\n- b\n") }, "the working tree has changes that are in no commit:\nM CHANGELOG.md"},
		"an untracked file":   {func(r *repository) { r.put("new.go", "") }, "?? new.go"},
		"no section":          {func(r *repository) { r.version = "v0.3.0" }, `CHANGELOG.md has no section "## v0.3.0"`},
		"an old file in dist": {func(r *repository) { r.dist = r.root }, "is not empty"},
		"a tag elsewhere": {func(r *repository) {
			r.git("tag", "--annotate", "--message=a", "v0.2.0")
			r.put("new.go", "")
			r.commit()
		}, "the tag v0.2.0 is at another commit"},
		"a light tag elsewhere": {func(r *repository) {
			r.git("tag", "v0.2.0")
			r.put("new.go", "")
			r.commit()
		}, "the tag v0.2.0 is at another commit"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			test.breaks(&r)
			if err := r.check(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestReadCommit(t *testing.T) {
	r := newRepository(t)
	from, err := readCommit(t.Context(), r.root)
	if err != nil || !from.time.Equal(time.Unix(1700000000, 0)) || len(from.revision) != 40 {
		t.Errorf("got %+v, %v", from, err)
	}
	r.put("new.go", "")
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	changed, err := readCommit(t.Context(), r.root)
	if err != nil || !changed.time.Equal(time.Unix(1, 0)) || changed.revision != from.revision+"-dirty" {
		t.Errorf("got %+v, %v", changed, err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := readCommit(t.Context(), r.root); err == nil || !strings.Contains(err.Error(), `SOURCE_DATE_EPOCH must be a number of seconds since 1970, not "yesterday"`) {
		t.Errorf("got %v", err)
	}
}

func TestNotesAndSums(t *testing.T) {
	r := newRepository(t)
	if err := runNotes(t.Context(), r.settings, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got, want := readFile(t, r.dist, "release-notes.md"), "- See [a](https://github.com/jobrun-dev/jobrun/blob/v0.2.0/docs/a.md).\n"; got != want {
		t.Errorf("the notes are %q, want %q", got, want)
	}
	for range 2 { // The second time there are sums already.
		if err := runSums(t.Context(), r.settings, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--strict", "--check", sumsFile)
	check.Dir = r.dist
	if output, err := check.CombinedOutput(); err != nil || string(output) != "release-notes.md: OK\n" {
		t.Errorf("sha256sum: %v\n%s", err, output)
	}
}

// The same sources and the same Go give the same binary, whatever the builder's settings are.
func TestCompileIgnoresSettingsOfTheBuilder(t *testing.T) {
	program := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(program, []byte("package main\n\nimport \"math/bits\"\n\nvar n uint\n\nfunc main() { println(bits.OnesCount(n)) }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := settings{root: root, version: "v1.2.3"}
	build := func(t *testing.T, platform string) []byte {
		t.Helper()
		content, err := compile(t.Context(), s, program, platform)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	platforms := []string{"linux/amd64", "linux/arm64"}
	var want [][]byte
	for _, platform := range platforms {
		want = append(want, build(t, platform))
	}
	for name, env := range map[string]map[string]string{
		"the processor": {"GOAMD64": "v3", "GOARM64": "v9.0"},
		"an experiment": {"GOEXPERIMENT": "unknown"}, // Go refuses it
		"flags":         {"GOFLAGS": "-tags=other"},
		"go env -w":     {"GOENV": filepath.Join(t.TempDir(), "env")},
	} {
		t.Run(name, func(t *testing.T) {
			if file, ok := env["GOENV"]; ok {
				if err := os.WriteFile(file, []byte("GOAMD64=v3\nGOARM64=v9.0\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for key, value := range env {
				t.Setenv(key, value)
			}
			for i, platform := range platforms {
				if !bytes.Equal(build(t, platform), want[i]) {
					t.Errorf("%v: another binary for %s", env, platform)
				}
			}
		})
	}
}

// plugins packs the plugin. In place of the plugin it packs a small Go program.
func plugins(t *testing.T) settings {
	t.Helper()
	program := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(program, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := settings{root: root, dist: t.TempDir(), version: "v1.2.3"}
	content, err := compile(t.Context(), s, program, here)
	if err != nil {
		t.Fatal(err)
	}
	err = packPlugin(s, built, io.Discard, func(platform string) ([]byte, error) { return slices.Concat(content, []byte(platform)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlugin(t *testing.T) {
	s := plugins(t)
	var manifest struct {
		Spec struct {
			Platforms []struct {
				URI    string `json:"uri"`
				SHA256 string `json:"sha256"`
				Bin    string `json:"bin"`
			} `json:"platforms"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal([]byte(readFile(t, s.dist, "jobrun.yaml")), &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Spec.Platforms) != 6 {
		t.Errorf("%d platforms, want 6", len(manifest.Spec.Platforms))
	}
	for _, p := range manifest.Spec.Platforms {
		file := filepath.Base(p.URI)
		packed := readFile(t, s.dist, file)
		if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(packed))); sum != p.SHA256 {
			t.Errorf("the sum of %s is %s, and in the manifest %s", file, sum, p.SHA256)
		}
		files := untar(t, packed)
		name := strings.TrimSuffix(strings.TrimPrefix(file, "kubectl-jobrun_"), ".tar.gz")
		if !strings.HasSuffix(files[p.Bin], strings.ReplaceAll(name, "_", "/")) {
			t.Errorf("%s has not the binary of its platform as %s", file, p.Bin)
		}
		if files["LICENSE"] != readFile(t, root, "LICENSE") || len(files) != 2 {
			t.Errorf("%s has %d files", file, len(files))
		}
		if list := readFile(t, s.dist, "kubectl-jobrun_"+name+".spdx.json"); !strings.Contains(list, `"spdxVersion": "SPDX-2.3"`) {
			t.Errorf("no SBOM for %s", name)
		}
	}
}

func TestPluginIsReproducible(t *testing.T) {
	one, two := plugins(t), plugins(t)
	entries, err := os.ReadDir(one.dist)
	if err != nil || len(entries) != 13 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, entry := range entries {
		if readFile(t, one.dist, entry.Name()) != readFile(t, two.dist, entry.Name()) {
			t.Errorf("%s differs", entry.Name())
		}
	}
}

func TestPluginNeedsAVersion(t *testing.T) {
	if err := runPlugin(t.Context(), settings{version: "1a2b3c4-dirty"}, io.Discard, io.Discard); err == nil {
		t.Error("it packed a version that krew does not take")
	}
}

func untar(t *testing.T, packed string) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for reader := tar.NewReader(zipped); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if _, err := io.Copy(&content, reader); err != nil {
			t.Fatal(err)
		}
		if header.Name != "LICENSE" && header.Mode != 0o755 {
			t.Errorf("%s has mode %o", header.Name, header.Mode)
		}
		files[header.Name] = content.String()
	}
}

func TestCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"":             "name a command first",
		"-version=v1":  "name a command first",
		"publish":      `unknown command "publish"`,
		"check -force": "flag provided but not defined: -force",
		"check now":    `unexpected argument "now"`,
	} {
		if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", args, err, want)
		}
	}
}
