// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package usertests

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
	"github.com/jobrun-dev/jobrun/pkg/jobruntest"
)

// documentedTest is the test in docs/recipes.md.
var documentedTest = regexp.MustCompile("(?s)```go\n(package sync_test\n.*?)```")

func useAssets(t *testing.T) {
	t.Helper()
	assets, err := checkout.Assets()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
}

// A user's module has the documented test in two packages, which the go command tests at the same time.
func TestModuleOfAUser(t *testing.T) {
	useAssets(t)
	page, err := os.ReadFile(checkout.Path("docs", "recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := documentedTest.FindStringSubmatch(string(page))
	if found == nil {
		t.Fatal("docs/recipes.md has no test in the package sync_test")
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} { // the versions of all dependencies
		copyFile(t, checkout.Path(name), filepath.Join(dir, name))
	}
	golang(t, dir, "mod", "edit", "-module=example.com/user", "-require=github.com/jobrun-dev/jobrun@v0.0.0",
		"-replace=github.com/jobrun-dev/jobrun="+checkout.Path())
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "sync_test.go"), []byte(found[1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	printed := golang(t, dir, "test", "-mod=mod", "-count=1", "-p=2", "./...")
	for _, name := range []string{"one", "two"} {
		if !strings.Contains(printed, "ok  \texample.com/user/"+name) {
			t.Errorf("package %s did not pass:\n%s", name, printed)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// golang runs the go command and returns what it prints.
func golang(t *testing.T, dir string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = dir
	printed, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, printed)
	}
	return string(printed)
}

// Two tests of one package have a cluster each, and each cluster ends with its test.
func TestTwoClustersAtOnce(t *testing.T) {
	useAssets(t)
	var both sync.WaitGroup
	both.Add(2)
	var hosts [2]string
	t.Run("at once", func(t *testing.T) {
		for i, name := range []string{"first", "second"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				config := jobruntest.Start(t)
				hosts[i] = config.Host
				runs, err := jobrun.NewForConfig(config, "default")
				if err != nil {
					t.Fatal(err)
				}
				trigger(t, runs, "a")
				both.Done()
				both.Wait() // both clusters are up, and each has one run of that name
				if list, err := runs.List(t.Context(), jobrun.Selector{JobName: "sync"}); err != nil || len(list) != 1 {
					t.Errorf("%d runs, %v, want one", len(list), err)
				}
			})
		}
	})
	for _, host := range hosts {
		address, err := url.Parse(host)
		if err != nil {
			t.Fatal(err)
		}
		if connection, err := net.Dial("tcp", address.Host); err == nil {
			_ = connection.Close()
			t.Errorf("the API server at %s still listens", host)
		}
	}
}

func trigger(t *testing.T, runs *jobrun.Client, name string) {
	t.Helper()
	result, err := runs.Trigger(t.Context(), v1alpha1.JobRunSpec{JobName: "sync", ConcurrencyKey: "k"}, jobrun.WithName(name))
	if err != nil {
		t.Fatal(err)
	}
	if result.Disposition != v1alpha1.DispositionCreated {
		t.Errorf("disposition %s", result.Disposition)
	}
}
