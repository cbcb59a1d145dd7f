// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	spdxjson "github.com/spdx/tools-golang/json"
	"golang.org/x/mod/modfile"

	"github.com/jobrun-dev/jobrun/hack/release/oci"
)

const (
	root    = "../.."
	version = "v9.8.7"
)

var built = commit{revision: strings.Repeat("c", 40), time: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)}

// here is the platform of an image that this machine can run, if it runs Linux.
const here = "linux/" + runtime.GOARCH

func digestOf(t *testing.T, index v1.ImageIndex) string {
	t.Helper()
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func build(t *testing.T, root, platforms string) v1.ImageIndex {
	t.Helper()
	s := settings{root: root, dist: t.TempDir(), version: version, platforms: platforms}
	index, err := buildImage(t.Context(), s, built, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// only returns the image of an index with one platform.
func only(t *testing.T, index v1.ImageIndex) v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("the index has %v, %v", manifest, err)
	}
	if got := manifest.Manifests[0].Platform.String(); got != here {
		t.Errorf("the platform is %s, want %s", got, here)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// archived returns the image after it was written to an archive and read from there.
func archived(t *testing.T, index v1.ImageIndex) v1.ImageIndex {
	t.Helper()
	file, dir := filepath.Join(t.TempDir(), imageFile), t.TempDir()
	if err := oci.WriteArchive(file, index, name.MustParseReference("registry.example.com/jobrun:v9").(name.Tag), built.time); err != nil {
		t.Fatal(err)
	}
	read, err := oci.ReadArchive(file, dir)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestImage(t *testing.T) {
	index := build(t, root, here)
	read := archived(t, index)
	if digestOf(t, read) != digestOf(t, index) {
		t.Error("the archive has another image than was built")
	}
	img, dir := only(t, read), t.TempDir()
	if err := oci.Unpack(img, dir); err != nil {
		t.Fatal(err)
	}
	t.Run("config", func(t *testing.T) { checkConfig(t, img) })
	t.Run("binary", func(t *testing.T) { checkBinary(t, filepath.Join(dir, "manager")) })
	t.Run("users", func(t *testing.T) {
		if text := readFile(t, dir, "etc/passwd"); !strings.Contains(text, "\nnonroot:x:65532:65532:") {
			t.Errorf("no nonroot in %q", text)
		}
	})
	t.Run("license", func(t *testing.T) {
		if readFile(t, dir, "LICENSE") != readFile(t, root, "LICENSE") {
			t.Error("it is not the repository's")
		}
	})
	t.Run("SBOM", func(t *testing.T) { checkSBOM(t, readFile(t, dir, oci.SBOMFile)) })
	t.Run("again from another place", func(t *testing.T) {
		if again := digestOf(t, build(t, copied(t), here)); again != digestOf(t, index) {
			t.Errorf("the digest was %s and is %s", digestOf(t, index), again)
		}
	})
}

func checkConfig(t *testing.T, img v1.Image) {
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/manager"}) {
		t.Errorf("%q runs as %q", config.Config.Entrypoint, config.Config.User)
	}
	if config.OS+"/"+config.Architecture != here || !config.Created.Equal(built.time) {
		t.Errorf("it is for %s/%s, of %v", config.OS, config.Architecture, config.Created)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{
		"org.opencontainers.image.source":   "https://github.com/jobrun-dev/jobrun",
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  version,
		"org.opencontainers.image.revision": built.revision,
		"org.opencontainers.image.created":  "2026-01-02T15:04:05Z",
	} {
		if config.Config.Labels[label] != want || manifest.Annotations[label] != want {
			t.Errorf("the label %s is %q, and the annotation %q, want %q", label, config.Config.Labels[label], manifest.Annotations[label], want)
		}
	}
}

func checkBinary(t *testing.T, manager string) {
	for _, args := range [][]string{{"--version"}, {"gateway", "--version"}} {
		if output, err := exec.CommandContext(t.Context(), manager, args...).CombinedOutput(); err != nil || string(output) != version+"\n" {
			t.Errorf("%q printed %q, %v", args, output, err)
		}
	}
	output, err := exec.CommandContext(t.Context(), manager, "--help").CombinedOutput()
	if err != nil || !bytes.Contains(output, []byte("-webhook-port")) {
		t.Errorf("--help printed %q, %v", output, err)
	}
	interpreter, err := exec.CommandContext(t.Context(), "go", "version", "-m", manager).Output()
	if err != nil || !bytes.Contains(interpreter, []byte("CGO_ENABLED=0")) || !bytes.Contains(interpreter, []byte("-trimpath=true")) {
		t.Errorf("it was built otherwise: %s, %v", interpreter, err)
	}
}

// checkSBOM compares the SBOM with go.mod: the modules in use are among those that go.mod requires, at its versions.
func checkSBOM(t *testing.T, text string) {
	document, err := spdxjson.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	required, err := modfile.Parse("go.mod", []byte(readFile(t, root, "go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, r := range required.Require {
		versions[r.Mod.Path] = r.Mod.Version
	}
	var found []string
	for _, p := range document.Packages[1:] { // The first one is JobRun.
		found = append(found, p.PackageName)
		if p.PackageName != "stdlib" && versions[p.PackageName] != p.PackageVersion {
			t.Errorf("%s has version %s, and %q in go.mod", p.PackageName, p.PackageVersion, versions[p.PackageName])
		}
	}
	for _, module := range []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/google/cel-go", "golang.org/x/net"} {
		if !slices.Contains(found, module) {
			t.Errorf("no %s among %d modules", module, len(found))
		}
	}
	if document.Packages[0].PackageName != "github.com/jobrun-dev/jobrun" || document.Packages[0].PackageVersion != version {
		t.Errorf("it is of %s %s", document.Packages[0].PackageName, document.Packages[0].PackageVersion)
	}
}

func readFile(t *testing.T, elem ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// copied returns a directory with a copy of what the manager is built from, with other times and without git.
func copied(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"api", "cmd", "config/crd", "internal", "pkg/jobrun"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum", "LICENSE"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(readFile(t, root, file)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The images of these tests have a few bytes in place of the manager.
func small(t *testing.T, source oci.Source, platforms ...string) v1.ImageIndex {
	t.Helper()
	var contents []oci.Content
	for _, text := range platforms {
		platform, err := v1.ParsePlatform(text)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, oci.Content{Platform: *platform, Manager: []byte("for " + text)})
	}
	index, err := oci.Index(source, contents...)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // no credentials of this machine
	image := strings.TrimPrefix(server.URL, "http://") + "/team/jobrun:v9"
	tag, err := tagOf(image)
	if err != nil {
		t.Fatal(err)
	}
	index := small(t, oci.Source{Version: version, Created: built.time}, "linux/amd64", "linux/arm64")
	s := settings{dist: t.TempDir(), image: image}
	if err := oci.WriteArchive(filepath.Join(s.dist, imageFile), index, tag, built.time); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := runPush(t.Context(), s, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if want := image + "@" + digestOf(t, index) + "\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	for _, platform := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}} {
		pulled, err := remote.Image(tag, remote.WithPlatform(platform))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := oci.Unpack(pulled, dir); err != nil {
			t.Fatal(err)
		}
		if got := readFile(t, dir, "manager"); got != "for "+platform.String() {
			t.Errorf("the manager of %s is %q", platform, got)
		}
	}
}

func TestPushNeedsAnImage(t *testing.T) {
	err := runPush(t.Context(), settings{dist: t.TempDir(), image: "registry.example.com/jobrun:v9"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "run `make image` first") {
		t.Errorf("got %v", err)
	}
}

func TestDigestDependsOnTheSource(t *testing.T) {
	source := oci.Source{Version: version, Revision: "c", Created: built.time}
	digest := digestOf(t, small(t, source, "linux/amd64"))
	later := source
	later.Created = later.Created.Add(time.Nanosecond)
	if digestOf(t, small(t, later, "linux/amd64")) != digest {
		t.Error("fractions of a second make a difference")
	}
	later.Revision = "d"
	if digestOf(t, small(t, later, "linux/amd64")) == digest {
		t.Error("the revision makes no difference")
	}
}

func TestImageRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"-image=registry.example.com/jobrun":                              "IMG=registry.example.com/jobrun: it must be a name with a tag",
		"-image=registry.example.com/jobrun@sha256:0":                     "it must be a name with a tag",
		"-image=registry.example.com/jobrun:v1 -platforms=linux":          `platform "linux": it must be OS/ARCHITECTURE`,
		"-image=registry.example.com/jobrun:v1 -platforms=linux/pdp11":    "unsupported GOOS/GOARCH pair linux/pdp11",
		"-image=registry.example.com/jobrun:v1 -platforms=linux/arm/v7/x": "PLATFORMS: ",
	} {
		command := append([]string{"image", "-root=" + root, "-dist=" + t.TempDir(), "-version=" + version}, strings.Fields(args)...)
		if err := run(t.Context(), command, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", args, err, want)
		}
	}
}
