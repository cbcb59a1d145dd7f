// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobruntest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	managerVariable = "JOBRUN_MANAGER"
	module          = "github.com/jobrun-dev/jobrun"
	// stopGrace is how long the operator may take to end.
	stopGrace = 10 * time.Second
)

// startManager starts the operator, and stops it when the test has ended. ended gets the error with which it ends.
func startManager(t testing.TB, binary string, env *envtest.Environment) (ended <-chan error) {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatalf("jobruntest: %v", err)
	}
	webhook := env.WebhookInstallOptions
	ctx, cancel := context.WithCancel(context.Background())
	process := exec.CommandContext(ctx, binary,
		"--webhook-host="+webhook.LocalServingHost,
		fmt.Sprintf("--webhook-port=%d", webhook.LocalServingPort),
		"--webhook-cert-path="+webhook.LocalServingCertDir,
		"--metrics-bind-address=0",
		"--health-probe-bind-address=0",
		"--namespace="+metav1.NamespaceDefault) // which exists
	process.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	process.Stdout, process.Stderr = t.Output(), t.Output()
	process.Cancel = func() error { return process.Process.Signal(os.Interrupt) }
	process.WaitDelay = stopGrace
	if err := process.Start(); err != nil {
		cancel()
		t.Fatalf("jobruntest: start the operator: %v", err)
	}
	result := make(chan error, 1)
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		err := process.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		result <- err
	}()
	t.Cleanup(func() {
		cancel()
		<-exited
	})
	return result
}

// manager returns the operator's binary. It builds it once per process, unless JOBRUN_MANAGER names one.
func manager() (string, error) {
	if named := os.Getenv(managerVariable); named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("%s names no file: %w", managerVariable, err)
		}
		return named, nil
	}
	return built()
}

var built = sync.OnceValues(build)

// build builds the operator from the version of JobRun that the module of the test uses. Its dependencies are those of
// JobRun's own go.mod. If nothing has changed, the go command keeps the binary of an earlier build.
func build() (string, error) {
	source, err := output("", "list", "-mod=readonly", "-m", "-f={{.Dir}}", module)
	if err == nil && source == "" {
		err = errors.New("it is not in the module cache: run `go mod download " + module + "`")
	}
	if err != nil {
		return "", buildError(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", buildError(err)
	}
	binary := filepath.Join(cache, "jobruntest", fmt.Sprintf("%.6x", sha256.Sum256([]byte(source))), "manager")
	if _, err := output(source, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o="+binary, "./cmd"); err != nil {
		return "", buildError(err)
	}
	return binary, nil
}

func buildError(err error) error {
	return fmt.Errorf("build the operator from the source of %s (or let %s name its binary): %w", module, managerVariable, err)
}

// output runs the go command in a directory and returns what it prints. A workspace of the test's module does not count.
func output(dir string, args ...string) (string, error) {
	command := exec.Command("go", args...)
	command.Dir = dir
	if dir != "" {
		command.Env = append(os.Environ(), "GOWORK=off")
	}
	printed, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(printed)), err
}
