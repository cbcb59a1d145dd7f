// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sbom lists the modules that a Go binary was built from, in the form of SPDX 2.3. It reads them from the binary itself.
package sbom

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
)

const (
	noAssertion = "NOASSERTION"
	license     = "Apache-2.0"
	supplier    = "The JobRun Authors"
	// root is the identifier of the package that is the binary.
	root = "binary"
)

// Binary is a Go binary of the project.
type Binary struct {
	// Name is its file name, and Version its version.
	Name, Version string
	// Content is the file.
	Content []byte
	// Created is the time that the SBOM names as its own.
	Created time.Time
}

// Of returns the SBOM of a binary as JSON. The same binary gives the same SBOM. It fails if the binary has no build information.
func Of(b Binary) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(b.Content))
	if err != nil {
		return nil, fmt.Errorf("read the modules of %s: %w", b.Name, err)
	}
	var out bytes.Buffer
	if err := spdxjson.Write(describe(b, info), &out, spdxjson.Indent("  ")); err != nil {
		return nil, fmt.Errorf("write the SBOM of %s: %w", b.Name, err)
	}
	return out.Bytes(), nil
}

// describe returns the SBOM of a binary that was built as info says.
func describe(b Binary, info *buildinfo.BuildInfo) *spdx.Document {
	sum := sha256.Sum256(b.Content)
	digest := hex.EncodeToString(sum[:])
	document := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      b.Name + "-" + b.Version,
		DocumentNamespace: "https://" + info.Main.Path + "/spdx/" + b.Name + "-" + b.Version + "-" + digest,
		CreationInfo: &spdx.CreationInfo{
			Created:  b.Created.UTC().Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Organization", Creator: supplier}, {CreatorType: "Tool", Creator: "hack/release"}},
		},
		Packages:      []*spdx.Package{binary(b, info.Main.Path, digest)},
		Relationships: []*spdx.Relationship{relate("DOCUMENT", common.TypeRelationshipDescribe, root)},
	}
	for i, module := range modules(info) {
		p := library(module, fmt.Sprintf("module-%d", i+1))
		document.Packages = append(document.Packages, p)
		document.Relationships = append(document.Relationships,
			relate(root, common.TypeRelationshipDependsOn, p.PackageSPDXIdentifier))
	}
	return document
}

// modules returns what is linked into the binary: the modules in use, and Go's standard library.
func modules(info *buildinfo.BuildInfo) []debug.Module {
	found := []debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		found = append(found, *dep)
	}
	return found
}

func binary(b Binary, path, digest string) *spdx.Package {
	return &spdx.Package{
		PackageName: path, PackageSPDXIdentifier: root, PackageVersion: b.Version, PackageFileName: b.Name,
		PackageSupplier:           &common.Supplier{SupplierType: "Organization", Supplier: supplier},
		PackageDownloadLocation:   "git+https://" + path,
		PackageChecksums:          []common.Checksum{{Algorithm: common.SHA256, Value: digest}},
		PackageLicenseConcluded:   license,
		PackageLicenseDeclared:    license,
		PackageCopyrightText:      "Copyright " + supplier,
		PackageExternalReferences: []*spdx.PackageExternalReference{purl(path, b.Version)},
		PrimaryPackagePurpose:     "APPLICATION",
	}
}

// library describes a module. The h1 sum of go.sum is no checksum of a file, so it stands in the source information.
func library(module debug.Module, identifier string) *spdx.Package {
	p := &spdx.Package{
		PackageName: module.Path, PackageSPDXIdentifier: common.ElementID(identifier), PackageVersion: module.Version,
		PackageDownloadLocation:   noAssertion,
		PackageLicenseConcluded:   noAssertion,
		PackageLicenseDeclared:    noAssertion,
		PackageCopyrightText:      noAssertion,
		PackageExternalReferences: []*spdx.PackageExternalReference{purl(module.Path, module.Version)},
		PrimaryPackagePurpose:     "LIBRARY",
	}
	if module.Sum != "" {
		p.PackageSourceInfo = "go.sum: " + module.Sum
	}
	return p
}

// purl returns the package URL, by which scanners look up vulnerabilities.
func purl(path, version string) *spdx.PackageExternalReference {
	return &spdx.PackageExternalReference{
		Category: "PACKAGE-MANAGER", RefType: "purl", Locator: "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B"),
	}
}

func relate(from common.ElementID, relationship string, to common.ElementID) *spdx.Relationship {
	return &spdx.Relationship{
		RefA: common.MakeDocElementID("", string(from)), Relationship: relationship, RefB: common.MakeDocElementID("", string(to)),
	}
}
