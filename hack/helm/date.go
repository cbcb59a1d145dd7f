// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"time"
)

// setDates gives all files in an archive one date. Helm takes the time at which it writes, so the archive would differ each time.
func setDates(file string, date time.Time) error {
	packed, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	zipped.Header = unzipped.Header // by which Helm knows its archives
	zipped.ModTime = time.Time{}
	written := tar.NewWriter(zipped)
	if err := copyDated(written, tar.NewReader(unzipped), date); err != nil {
		return err
	}
	if err := errors.Join(written.Close(), zipped.Close()); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

func copyDated(to *tar.Writer, from *tar.Reader, date time.Time) error {
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		header.ModTime = date
		if err := to.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
	}
}
