// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// This test does not build the image. It checks that the Dockerfile copies every package that the manager imports.
func TestImageCopiesWhatItCompiles(t *testing.T) {
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	copied := regexp.MustCompile(`(?m)^COPY (\S+) (\S+)$`).FindAllStringSubmatch(string(dockerfile), -1)
	packages, err := output(exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", "./cmd"))
	if err != nil {
		t.Fatal(err)
	}
	for dir := range strings.FieldsSeq(string(packages)) {
		relative, err := filepath.Rel(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		if !isCopied(copied, relative) {
			t.Errorf("the Dockerfile does not copy %s", relative)
		}
	}
}

func isCopied(copied [][]string, dir string) bool {
	for _, line := range copied {
		if line[1] == line[2] && strings.HasPrefix(dir+"/", line[1]+"/") {
			return true
		}
	}
	return false
}
