// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

func findAssets(options Options) (string, error) {
	dir, err := assetsDir(options)
	if err != nil {
		return "", err
	}
	return dir, checkAssets(dir, neededAssets(options))
}

// findKubectl returns the directory of kubectl. The other binaries may be missing.
func findKubectl(options Options) (string, error) {
	dir, err := assetsDir(options)
	if err != nil {
		return "", err
	}
	return dir, checkAssets(dir, []string{"kubectl"})
}

func assetsDir(options Options) (string, error) {
	if options.Assets != "" {
		return filepath.Abs(options.Assets)
	}
	return checkout.Assets()
}

func neededAssets(options Options) []string {
	needed := []string{"kube-apiserver", "kubectl"}
	if options.Store != StoreKine {
		needed = append(needed, "etcd")
	}
	if !options.NoControllerManager {
		needed = append(needed, "kube-controller-manager")
	}
	if !options.NoScheduler {
		needed = append(needed, "kube-scheduler")
	}
	return needed
}

func checkAssets(dir string, needed []string) error {
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
