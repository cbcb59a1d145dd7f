// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"github.com/jobrun-dev/jobrun/hack/release/archive"
	"github.com/jobrun-dev/jobrun/hack/release/krew"
)

// runPlugin writes an archive and an SBOM of the plugin for each platform of the krew manifest, and the filled manifest.
func runPlugin(ctx context.Context, s settings, _, progress io.Writer) error {
	if err := checkVersion(s.version); err != nil {
		return err
	}
	from, err := readCommit(ctx, s.root)
	if err != nil {
		return err
	}
	return packPlugin(s, from, progress, func(platform string) ([]byte, error) {
		return compile(ctx, s, "./cmd/kubectl-jobrun", platform)
	})
}

func packPlugin(s settings, from commit, progress io.Writer, build func(platform string) ([]byte, error)) error {
	manifest, err := s.read("config", "krew", "jobrun.yaml")
	if err != nil {
		return err
	}
	license, err := s.read("LICENSE")
	if err != nil {
		return err
	}
	sums := map[string]string{}
	for _, platform := range krew.Platforms(string(manifest)) {
		binary, err := build(platform)
		if err != nil {
			return err
		}
		if _, err := s.writeSBOM("kubectl-jobrun", platform, binary, from, progress); err != nil {
			return err
		}
		packed, err := pack(platform, binary, license, from)
		if err != nil {
			return err
		}
		if err := s.write(krew.Archive(platform), packed, progress); err != nil {
			return err
		}
		sum := sha256.Sum256(packed)
		sums[platform] = hex.EncodeToString(sum[:])
	}
	filled, err := krew.Fill(string(manifest), s.version, sums)
	if err != nil {
		return err
	}
	return s.write("jobrun.yaml", []byte(filled), progress)
}

// pack returns the archive of the plugin for a platform.
func pack(platform string, binary, license []byte, from commit) ([]byte, error) {
	name := "kubectl-jobrun"
	if strings.HasPrefix(platform, "windows/") {
		name += ".exe"
	}
	var packed bytes.Buffer
	err := archive.TarGzip(&packed, from.time,
		archive.File{Name: "LICENSE", Mode: 0o644, Content: license},
		archive.File{Name: name, Mode: 0o755, Content: binary})
	return packed.Bytes(), err
}
