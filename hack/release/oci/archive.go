// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/jobrun-dev/jobrun/hack/release/archive"
)

// These annotations of an archive tell podman, skopeo and containerd the name of the image.
const (
	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
)

// WriteArchive writes an image as an OCI archive, a tar file of the OCI image layout, under the name tag.
func WriteArchive(file string, index v1.ImageIndex, tag name.Tag, modified time.Time) error {
	dir, err := os.MkdirTemp("", "jobrun-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	names := layout.WithAnnotations(map[string]string{refName: tag.TagStr(), containerdName: tag.Name()})
	if err := path.AppendIndex(index, names); err != nil {
		return err
	}
	files, err := filesOf(dir)
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(archive.Tar(out, modified, files...), out.Close())
}

func filesOf(dir string) ([]archive.File, error) {
	var files []archive.File
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if entry.IsDir() {
			files = append(files, archive.File{Name: path + "/", Mode: 0o755})
			return nil
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		files = append(files, archive.File{Name: path, Mode: 0o644, Content: content})
		return err
	})
	return files, err
}

// ReadArchive unpacks an OCI archive that WriteArchive wrote into an empty directory. It returns the image, which reads from there.
func ReadArchive(file, dir string) (v1.ImageIndex, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	unpacked, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer unpacked.Close()
	if err := unpack(tar.NewReader(in), unpacked); err != nil {
		return nil, fmt.Errorf("unpack %s: %w", file, err)
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("read the layout in %s: %w", file, err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s has %d images, want 1", file, len(manifest.Manifests))
	}
	return outer.ImageIndex(manifest.Manifests[0].Digest)
}
