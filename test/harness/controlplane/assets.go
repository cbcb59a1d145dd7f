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
	dir := options.Assets
	if dir == "" {
		assets, err := checkout.Assets()
		if err != nil {
			return "", err
		}
		dir = assets
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, checkAssets(dir, options)
}

func checkAssets(dir string, options Options) error {
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
