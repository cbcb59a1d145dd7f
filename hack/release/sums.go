// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const sumsFile = "SHA256SUMS"

// runSums writes the checksums of all files in -dist, in the form of sha256sum.
func runSums(_ context.Context, s settings, _, progress io.Writer) error {
	entries, err := os.ReadDir(s.dist)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, entry := range entries {
		if !entry.Type().IsRegular() || entry.Name() == sumsFile {
			continue
		}
		content, err := os.ReadFile(filepath.Join(s.dist, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), entry.Name())
	}
	return s.write(sumsFile, []byte(sums.String()), progress)
}
