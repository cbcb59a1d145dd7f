// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/jobrun-dev/jobrun/hack/release/oci"
	"github.com/jobrun-dev/jobrun/hack/release/sbom"
)

// imageFile is the OCI archive in -dist.
const imageFile = "jobrun-image.tar"

// runImage builds the image for all platforms.
func runImage(ctx context.Context, s settings, out, progress io.Writer) error {
	tag, err := tagOf(s.image)
	if err != nil {
		return err
	}
	from, err := readCommit(ctx, s.root)
	if err != nil {
		return err
	}
	index, err := buildImage(ctx, s, from, progress)
	if err != nil {
		return err
	}
	path := filepath.Join(s.dist, imageFile)
	if err := oci.WriteArchive(path, index, tag, from.time); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	fmt.Fprintln(progress, "wrote", path)
	return printReference(out, tag, index)
}

// buildImage compiles the manager for each platform. It writes the SBOMs to -dist, too.
func buildImage(ctx context.Context, s settings, from commit, progress io.Writer) (v1.ImageIndex, error) {
	license, err := s.read("LICENSE")
	if err != nil {
		return nil, err
	}
	var contents []oci.Content
	for text := range strings.SplitSeq(s.platforms, ",") {
		platform, err := v1.ParsePlatform(text)
		if err != nil {
			return nil, fmt.Errorf("PLATFORMS: %w", err)
		}
		fmt.Fprintf(progress, "building the manager for %s (some minutes when nothing is cached)\n", text)
		manager, err := compile(ctx, s, "./cmd", text)
		if err != nil {
			return nil, err
		}
		list, err := s.writeSBOM("manager", text, manager, from, progress)
		if err != nil {
			return nil, err
		}
		contents = append(contents, oci.Content{Platform: *platform, Manager: manager, SBOM: list, License: license})
	}
	return oci.Index(oci.Source{Version: s.version, Revision: from.revision, Created: from.time}, contents...)
}

// writeSBOM writes and returns the SBOM of a binary.
func (s settings) writeSBOM(binary, platform string, content []byte, from commit, progress io.Writer) ([]byte, error) {
	list, err := sbom.Of(sbom.Binary{Name: binary, Version: s.version, Content: content, Created: from.time})
	if err != nil {
		return nil, err
	}
	return list, s.write(binary+"_"+strings.ReplaceAll(platform, "/", "_")+".spdx.json", list, progress)
}

// runPush pushes the image that runImage wrote. The credentials are those of docker, podman and the cloud's command lines.
func runPush(ctx context.Context, s settings, out, progress io.Writer) error {
	tag, err := tagOf(s.image)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "jobrun-push-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	index, err := oci.ReadArchive(filepath.Join(s.dist, imageFile), dir)
	if err != nil {
		return fmt.Errorf("run `make image` first: %w", err)
	}
	fmt.Fprintf(progress, "pushing %s\n", tag)
	if err := remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("push %s: %w", tag, err)
	}
	return printReference(out, tag, index)
}

func tagOf(image string) (name.Tag, error) {
	tag, err := name.NewTag(image, name.StrictValidation)
	if err != nil {
		return tag, fmt.Errorf("IMG=%s: it must be a name with a tag, such as registry.example.com/jobrun:v1.2.3: %w", image, err)
	}
	return tag, nil
}

// printReference prints the name of an image with its tag and digest, as a manifest should have it.
func printReference(out io.Writer, tag name.Tag, index v1.ImageIndex) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s@%s\n", tag, digest)
	return err
}
