// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package checkout finds the files of the repository that a test belongs to.
package checkout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Root returns the repository's root: the closest directory at or above the working directory that has hack/k8s.
// It returns an error outside a checkout.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "hack", "k8s", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the working directory is not within the project's checkout")
		}
	}
}

// Path returns the absolute path of a file, which is given relative to the root. It panics outside a checkout.
func Path(elem ...string) string {
	root, err := Root()
	if err != nil {
		panic(err)
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

// Assets returns the directory of the control plane's binaries: bin/k8s, unless KUBEBUILDER_ASSETS names another.
func Assets() (string, error) {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		return filepath.Abs(assets)
	}
	root, err := Root()
	if err != nil {
		return "", fmt.Errorf("cannot find bin/k8s, set KUBEBUILDER_ASSETS: %w", err)
	}
	return filepath.Join(root, "bin", "k8s"), nil
}
