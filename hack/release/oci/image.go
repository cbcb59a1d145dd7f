// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package oci makes the operator's image, without a container runtime. The same input gives the same digest.
package oci

import (
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/jobrun-dev/jobrun/hack/release/archive"
)

const (
	// user is nonroot of distroless, as in the Dockerfile.
	user = "65532:65532"
	// SBOMFile is where the image has its SBOM.
	SBOMFile = "usr/share/sbom/manager.spdx.json"

	passwd = `root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin
`
	group = `root:x:0:
nobody:x:65534:
nonroot:x:65532:
`
)

// Source is what the image was built from.
type Source struct {
	// Version is the operator's, for example v0.2.0.
	Version string
	// Revision is the commit.
	Revision string
	// Created is the time of the image and of all files in it.
	Created time.Time
}

// Content has the files for one platform.
type Content struct {
	Platform               v1.Platform
	Manager, SBOM, License []byte
}

// Index returns the image for all platforms.
func Index(source Source, contents ...Content) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, content := range contents {
		img, err := image(source, content)
		if err != nil {
			return nil, fmt.Errorf("make the image for %s: %w", content.Platform, err)
		}
		platform := content.Platform
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: &platform},
		})
	}
	return mutate.Annotations(index, source.labels()).(v1.ImageIndex), nil
}

// labels are the labels of the image, and the annotations of its manifests.
func (s Source) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":         "JobRun",
		"org.opencontainers.image.description":   "Runs with a key: at most one executes, at most one waits. Manager and gateway of the JobRun operator.",
		"org.opencontainers.image.source":        "https://github.com/jobrun-dev/jobrun",
		"org.opencontainers.image.documentation": "https://github.com/jobrun-dev/jobrun/blob/main/docs/operations.md",
		"org.opencontainers.image.licenses":      "Apache-2.0",
		"org.opencontainers.image.vendor":        "The JobRun Authors",
		"org.opencontainers.image.version":       s.Version,
		"org.opencontainers.image.revision":      s.Revision,
		"org.opencontainers.image.created":       s.Created.UTC().Format(time.RFC3339),
	}
}

func image(source Source, content Content) (v1.Image, error) {
	created := v1.Time{Time: source.Created.UTC().Truncate(time.Second)}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, step := range []struct {
		name  string
		files []archive.File
	}{
		{"users and directories", base()},
		{"the manager, its license and its SBOM", operator(content)},
	} {
		layer, err := newLayer(source.Created, step.files)
		if err != nil {
			return nil, err
		}
		img, err = mutate.Append(img, mutate.Addendum{
			Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "hack/release", Comment: step.name},
		})
		if err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = created
	config.OS, config.Architecture, config.Variant = content.Platform.OS, content.Platform.Architecture, content.Platform.Variant
	config.Config = v1.Config{
		User: user, WorkingDir: "/", Entrypoint: []string{"/manager"}, Env: []string{"PATH=/"}, Labels: source.labels(),
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	return mutate.Annotations(img, source.labels()).(v1.Image), nil
}

// base returns what the image has beside the operator. The operator needs no libraries, no shell and no time zones. It trusts the
// authority of its cluster alone, so there are no certificates of others.
func base() []archive.File {
	return []archive.File{
		{Name: "etc/", Mode: 0o755},
		{Name: "etc/passwd", Mode: 0o644, Content: []byte(passwd)},
		{Name: "etc/group", Mode: 0o644, Content: []byte(group)},
		{Name: "tmp/", Mode: 0o1777},
	}
}

func operator(content Content) []archive.File {
	return []archive.File{
		{Name: "manager", Mode: 0o755, Content: content.Manager},
		{Name: "LICENSE", Mode: 0o644, Content: content.License},
		{Name: "usr/", Mode: 0o755},
		{Name: "usr/share/", Mode: 0o755},
		{Name: "usr/share/sbom/", Mode: 0o755},
		{Name: SBOMFile, Mode: 0o644, Content: content.SBOM},
	}
}
