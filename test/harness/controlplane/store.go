// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// Store is what the API server keeps its objects in.
type Store string

const (
	// StoreEtcd is etcd.
	StoreEtcd Store = "etcd"
	// StoreKine is kine, which serves etcd's API from an SQLite database, as in k3s. Its binary is bin/kine (see hack/kine).
	StoreKine Store = "kine"
)

// StoreFromEnv returns the store that the environment variable STORE names. The default is etcd.
func StoreFromEnv() (Store, error) {
	store := Store(os.Getenv("STORE"))
	switch store {
	case "":
		return StoreEtcd, nil
	case StoreEtcd, StoreKine:
		return store, nil
	default:
		return "", fmt.Errorf("STORE is %q: it must be etcd or kine", store)
	}
}

// findKine returns the path of kine's binary, or nothing if the store is etcd.
func findKine(store Store) (string, error) {
	switch store {
	case "", StoreEtcd:
		return "", nil
	case StoreKine:
	default:
		return "", fmt.Errorf("the store %q is unknown: it must be etcd or kine", store)
	}
	root, err := checkout.Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "kine")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no kine in %s: run `make kine`", filepath.Dir(path))
	}
	return path, nil
}

// newKine leaves all that can be chosen to kine. So its database is db/state.db below its working directory, with the
// settings that k3s runs it with.
func (cp *ControlPlane) newKine(address, metricsAddress string) *component {
	return &component{
		name: "kine",
		path: cp.kine,
		dir:  filepath.Join(cp.dir, "kine"),
		args: []string{"--listen-address=" + address, "--metrics-bind-address=" + metricsAddress},
		// kine serves metrics once it listens to clients.
		probe: HTTPReady(http.DefaultClient, "http://"+metricsAddress+"/metrics"),
	}
}
