// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdxlib"
)

// The test's own binary is a Go binary that uses modules.
func self(t *testing.T) Binary {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Binary{Name: "manager", Version: "v1.2.3", Content: content, Created: time.Unix(1700000000, 0)}
}

func read(t *testing.T, text []byte) *spdx.Document {
	t.Helper()
	document, err := spdxjson.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(document); err != nil {
		t.Fatal(err)
	}
	return document
}

func TestListsModules(t *testing.T) {
	info := &buildinfo.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: "example.com/a", Version: "(devel)"}, Deps: []*debug.Module{
		{Path: "example.com/b", Version: "v1.0.0", Sum: "h1:b="},
		{Path: "example.com/c", Version: "v2.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v2.0.1+incompatible"}},
	}}
	var found []string
	for _, p := range describe(Binary{Name: "manager", Version: "v1.2.3"}, info).Packages {
		found = append(found, p.PackageName+" "+p.PackageVersion+" "+p.PackageExternalReferences[0].Locator)
	}
	want := []string{
		"example.com/a v1.2.3 pkg:golang/example.com/a@v1.2.3",
		"stdlib 1.26.8 pkg:golang/stdlib@1.26.8",
		"example.com/b v1.0.0 pkg:golang/example.com/b@v1.0.0",
		"example.com/fork v2.0.1+incompatible pkg:golang/example.com/fork@v2.0.1%2Bincompatible",
	}
	if !slices.Equal(found, want) {
		t.Errorf("got %q, want %q", found, want)
	}
}

func TestDocument(t *testing.T) {
	text, err := Of(self(t))
	if err != nil {
		t.Fatal(err)
	}
	document := read(t, text)
	if document.SPDXVersion != "SPDX-2.3" || document.CreationInfo.Created != "2023-11-14T22:13:20Z" {
		t.Errorf("%s of %s", document.SPDXVersion, document.CreationInfo.Created)
	}
	if p := document.Packages[0]; p.PackageName != "github.com/jobrun-dev/jobrun/hack/release" || p.PackageVersion != "v1.2.3" {
		t.Errorf("the SBOM is of %s %s", p.PackageName, p.PackageVersion)
	}
	if len(document.Packages) < 2 || len(document.Relationships) != len(document.Packages) {
		t.Errorf("%d relationships for %d packages", len(document.Relationships), len(document.Packages))
	}
	// Its default is true, and would make the reader look for files.
	if !strings.Contains(string(text), `"filesAnalyzed": false`) {
		t.Error("filesAnalyzed is not false")
	}
}

func TestSameBinaryGivesTheSameSBOM(t *testing.T) {
	once, err := Of(self(t))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Of(self(t))
	if err != nil || !bytes.Equal(once, again) {
		t.Errorf("two SBOMs of one binary differ: %v", err)
	}
}

func TestNoGoBinary(t *testing.T) {
	_, err := Of(Binary{Name: "manager", Content: []byte("#!/bin/sh\n")})
	if err == nil || !strings.Contains(err.Error(), "read the modules of manager") {
		t.Errorf("got %v", err)
	}
}
