// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobruntest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// test/suites/usertests tests Start. These tests are about what is missing.

func TestMissingAssets(t *testing.T) {
	half := t.TempDir()
	if err := os.WriteFile(filepath.Join(half, "etcd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ dir, want string }{
		"not set": {"", "KUBEBUILDER_ASSETS is not set: "},
		"empty":   {filepath.Join(half, "none"), "no etcd and no kube-apiserver in "},
		"half":    {half, "no kube-apiserver in " + half + ", which KUBEBUILDER_ASSETS names; `go run "},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkAssets(tc.dir); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %v, want %q...", err, tc.want)
			}
		})
	}
	if err := os.WriteFile(filepath.Join(half, "kube-apiserver"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkAssets(half); err != nil {
		t.Errorf("nothing is missing: %v", err)
	}
}

func TestNamedManager(t *testing.T) {
	t.Setenv(managerVariable, "/none")
	if _, err := manager(); err == nil || !strings.HasPrefix(err.Error(), "JOBRUN_MANAGER names no file: ") {
		t.Errorf("error %v", err)
	}
	named := filepath.Join(t.TempDir(), "manager")
	if err := os.WriteFile(named, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(managerVariable, named)
	if got, err := manager(); got != named || err != nil {
		t.Errorf("manager %s, %v", got, err)
	}
}

func TestNoGoCommand(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := build()
	if err == nil || !strings.Contains(err.Error(), "JOBRUN_MANAGER") || !strings.Contains(err.Error(), `"go": executable file not found`) {
		t.Errorf("error %v", err)
	}
}

// The go command's own message must reach the reader.
func TestGoCommandFails(t *testing.T) {
	_, err := output("", "list", "-m", "example.com/none")
	if err == nil || !strings.Contains(err.Error(), "example.com/none") {
		t.Errorf("error %v", err)
	}
}
