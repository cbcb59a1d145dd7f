// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobruntest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/config"
)

const (
	assetsVariable = "KUBEBUILDER_ASSETS"
	// startTimeout is how long the operator may take until it answers triggers, on a busy machine.
	startTimeout = 2 * time.Minute
	pollInterval = 100 * time.Millisecond
)

// Start starts an API server and the operator for a test, and returns an administrator's client configuration. When Start
// returns, the API server accepts triggers. Both stop when the test and its subtests have ended.
//
// All ports are free ones, so tests may call Start at the same time, in one package or in several. A start takes some
// seconds, and the first one builds the operator: let the tests of a package share a start, in TestMain or as subtests. If
// something is missing or fails, Start ends the test with t.Fatal and says what.
func Start(t testing.TB) *rest.Config {
	t.Helper()
	if err := checkAssets(os.Getenv(assetsVariable)); err != nil {
		t.Fatalf("jobruntest: %v", err)
	}
	binary, err := manager()
	if err != nil {
		t.Fatalf("jobruntest: %v", err)
	}
	manifests := t.TempDir()
	if err := os.CopyFS(manifests, config.Manifests); err != nil {
		t.Fatalf("jobruntest: write the manifests: %v", err)
	}
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join(manifests, "crd", "bases")},
		WebhookInstallOptions: envtest.WebhookInstallOptions{Paths: []string{filepath.Join(manifests, "webhook", "manifests.yaml")}},
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("jobruntest: stop the API server: %v", err)
		}
	})
	client, err := env.Start()
	if err != nil {
		t.Fatalf("jobruntest: start the API server: %v", err)
	}
	ended := startManager(t, binary, env)
	if err := awaitAnswer(t.Context(), client, ended); err != nil {
		t.Fatalf("jobruntest: the operator does not answer triggers: %v", err)
	}
	return client
}

// checkAssets reports what is missing in the directory of the API server's binaries.
func checkAssets(dir string) error {
	const remedy = "`go run sigs.k8s.io/controller-runtime/tools/setup-envtest@latest use -p path` downloads them and prints their directory"
	if dir == "" {
		return fmt.Errorf("%s is not set: it names the directory that has etcd and kube-apiserver; %s", assetsVariable, remedy)
	}
	var missing []string
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no %s in %s, which %s names; %s", strings.Join(missing, " and no "), dir, assetsVariable, remedy)
	}
	return nil
}

// awaitAnswer waits until the webhook answers a trigger. ended gives the error with which the operator ended.
func awaitAnswer(ctx context.Context, to *rest.Config, ended <-chan error) error {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	api, err := client.New(to, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-ended:
			return false, fmt.Errorf("it ended: %w", err)
		default:
		}
		last = api.Create(ctx, &v1alpha1.JobRun{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "jobruntest-"},
			Spec:       v1alpha1.JobRunSpec{JobName: "jobruntest"},
		}, client.DryRunAll)
		return last == nil, nil
	})
	return errors.Join(err, last)
}
