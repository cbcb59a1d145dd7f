// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStoreFromEnv(t *testing.T) {
	for value, test := range map[string]struct {
		want Store
		fail string
	}{
		"":       {want: StoreEtcd},
		"etcd":   {want: StoreEtcd},
		"kine":   {want: StoreKine},
		"sqlite": {fail: `STORE is "sqlite": it must be etcd or kine`},
	} {
		t.Setenv("STORE", value)
		store, err := StoreFromEnv()
		if store != test.want || failure(err) != test.fail {
			t.Errorf("STORE=%q: got %q and error %v", value, store, err)
		}
	}
}

func TestStoreIsChecked(t *testing.T) {
	root := t.TempDir() // looks like a checkout in which nothing was built
	if err := os.MkdirAll(filepath.Join(root, "hack", "k8s"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "hack", "k8s", "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	for store, want := range map[Store]string{
		"":        "",
		StoreEtcd: "",
		StoreKine: "run `make kine`",
		"sqlite":  `the store "sqlite" is unknown: it must be etcd or kine`,
	} {
		if _, err := findKine(store); (err == nil) != (want == "") || !strings.Contains(failure(err), want) {
			t.Errorf("store %q: got error %v, want %q", store, err, want)
		}
	}
}

func failure(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
