// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func findAssets(options Options) (string, error) {
	dir := options.Assets
	if dir == "" {
		dir = os.Getenv("KUBEBUILDER_ASSETS")
	}
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "bin", "k8s")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, checkAssets(dir, options)
}

func checkAssets(dir string, options Options) error {
	needed := []string{"etcd", "kube-apiserver", "kubectl"}
	if !options.NoControllerManager {
		needed = append(needed, "kube-controller-manager")
	}
	if !options.NoScheduler {
		needed = append(needed, "kube-scheduler")
	}
	var missing []string
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no %s in %s: run `make k8s`, or let KUBEBUILDER_ASSETS name the directory that has them",
			strings.Join(missing, ", "), dir)
	}
	return nil
}

// moduleRoot is the nearest directory above the working directory that has the project's hack/k8s.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "hack", "k8s", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("cannot find bin/k8s from outside the project's checkout: set KUBEBUILDER_ASSETS")
		}
	}
}
