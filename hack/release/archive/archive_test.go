// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

var modified = time.Date(2026, 1, 2, 15, 4, 5, 678, time.FixedZone("UTC+2", 2*60*60))

func zip(t *testing.T, files ...File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := TarGzip(&b, modified, files...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSameFilesGiveTheSameBytes(t *testing.T) {
	binary, license := File{Name: "kubectl-jobrun", Mode: 0o755, Content: []byte("ELF")}, File{Name: "LICENSE", Mode: 0o644, Content: []byte("text")}
	once := zip(t, binary, license)
	if !bytes.Equal(once, zip(t, license, binary)) {
		t.Error("the order of the files makes a difference")
	}
	license.Content = []byte("TEXT")
	if bytes.Equal(once, zip(t, binary, license)) {
		t.Error("the content makes no difference")
	}
}

func TestHeaders(t *testing.T) {
	zipped, err := gzip.NewReader(bytes.NewReader(zip(t,
		File{Name: "tmp/", Mode: 0o1777}, File{Name: "etc/passwd", Mode: 0o644, Content: []byte("root")}, File{Name: "etc/", Mode: 0o755})))
	if err != nil {
		t.Fatal(err)
	}
	if !zipped.ModTime.IsZero() || zipped.Name != "" {
		t.Errorf("gzip's header has the time %v and the name %q", zipped.ModTime, zipped.Name)
	}
	var names []string
	for reader := tar.NewReader(zipped); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if !header.ModTime.Equal(modified.Truncate(time.Second)) || header.Uid != 0 || header.Gid != 0 || header.Uname != "" {
			t.Errorf("%s is of %v and belongs to %d:%d %q", header.Name, header.ModTime, header.Uid, header.Gid, header.Uname)
		}
		if isDir := header.Typeflag == tar.TypeDir; isDir != (header.Name != "etc/passwd") {
			t.Errorf("%s has type %c", header.Name, header.Typeflag)
		}
		if header.Name == "tmp/" && header.Mode != 0o1777 {
			t.Errorf("tmp has mode %o", header.Mode)
		}
	}
	if want := []string{"etc/", "etc/passwd", "tmp/"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
}
