// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package archive writes tar files that depend on nothing but their content: the same files give the same bytes.
package archive

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"time"
)

// File is a file or a directory of an archive.
type File struct {
	// Name is the path in the archive, without a leading slash. That of a directory ends with a slash.
	Name string
	// Mode has the permissions, and the sticky bit (01000).
	Mode int64
	// Content is empty for a directory.
	Content []byte
}

// Tar writes the files, sorted by name. They belong to root, and all have the same time.
func Tar(w io.Writer, modified time.Time, files ...File) error {
	out := tar.NewWriter(w)
	byName := func(a, b File) int { return cmp.Compare(a.Name, b.Name) }
	for _, file := range slices.SortedFunc(slices.Values(files), byName) {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: file.Name, Mode: file.Mode, Size: int64(len(file.Content)),
			ModTime: modified.UTC().Truncate(time.Second), Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(file.Name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := out.Write(file.Content); err != nil {
			return err
		}
	}
	return out.Close()
}

// TarGzip writes what Tar writes, compressed.
func TarGzip(w io.Writer, modified time.Time, files ...File) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := Tar(zipped, modified, files...); err != nil {
		return err
	}
	return zipped.Close()
}
