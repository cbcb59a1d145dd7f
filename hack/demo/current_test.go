// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// cluster starts a control plane, as the cluster of the current context. The context's namespace is default.
func cluster(t *testing.T) *controlplane.ControlPlane {
	t.Helper()
	t.Chdir(checkout.Path()) // where the story finds its files
	cp, err := controlplane.Start(t.Context(), controlplane.Options{NoScheduler: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("KUBECONFIG", cp.AdminKubeconfig())
	return cp
}

func kubectl(t *testing.T, cp *controlplane.ControlPlane, args ...string) string {
	t.Helper()
	output, err := cp.Kubectl(t.Context(), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %q: %v\n%s", args, err, output)
	}
	return string(output)
}

// inventory returns the names of all objects of the kinds that the demo makes.
func inventory(t *testing.T, cp *controlplane.ControlPlane) []string {
	t.Helper()
	return strings.Fields(kubectl(t, cp, "get", "--output=name", "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,"+
		"mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings,"+
		"flowschemas,prioritylevelconfigurations"))
}

// The built-in objects of a cluster are made in the background, so the inventory is compared by what JobRun could have added.
func left(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(after), func(name string) bool {
		return slices.Contains(before, name) || !strings.Contains(name, "jobrun")
	})
}

func TestCurrentCluster(t *testing.T) {
	cp := cluster(t)
	before, kubeconfig := inventory(t, cp), readFile(t, cp.AdminKubeconfig())
	d, err := startCurrent(t.Context(), checkout.Path(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.created(t.Context()); err != nil {
		t.Error(err)
	}
	if got := kubectl(t, cp, "get", "jobruns", "--all-namespaces", "--output=jsonpath={.items[*].metadata.namespace}"); got != storyNamespace {
		t.Errorf("the runs are in %q, want %q", got, storyNamespace)
	}
	// The demo of somebody else must not take this one away.
	if _, err := startCurrent(t.Context(), checkout.Path(), "127.0.0.1"); err == nil ||
		!strings.Contains(err.Error(), "customresourcedefinition.apiextensions.k8s.io/jobruns.batch.jobrun.dev") ||
		!strings.Contains(err.Error(), "namespace/"+storyNamespace) {
		t.Errorf("it does not refuse a cluster with JobRun: %v", err)
	}
	kubectl(t, cp, "get", "--namespace="+storyNamespace, "jobrun", "sync-acme-1")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if rest := left(before, inventory(t, cp)); len(rest) > 0 {
		t.Errorf("the demo left %q", rest)
	}
	if readFile(t, cp.AdminKubeconfig()) != kubeconfig {
		t.Error("the kubeconfig of the user has changed")
	}
}

// An API server that does not reach this machine gets no half of an installation.
func TestCurrentClusterOutOfReach(t *testing.T) {
	cp := cluster(t)
	before := inventory(t, cp)
	if _, err := startCurrent(t.Context(), checkout.Path(), "192.0.2.1"); err == nil || !strings.Contains(err.Error(), "listen where the API server calls the webhook") {
		t.Errorf("got %v", err)
	}
	if rest := left(before, inventory(t, cp)); len(rest) > 0 {
		t.Errorf("the demo left %q", rest)
	}
}

// A namespace that somebody makes while the demo starts is not the demo's to delete.
func TestCurrentClusterLeavesTheNamespaceOfOthers(t *testing.T) {
	cp := cluster(t)
	kubeconfig, err := currentContext()
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{root: checkout.Path()}
	if d.cp, err = controlplane.Attach(kubeconfig, controlplane.Options{}); err != nil {
		t.Fatal(err)
	}
	if d.made, err = d.prepareInstallation(t.Context()); err != nil {
		t.Fatal(err)
	}
	kubectl(t, cp, "create", "namespace", storyNamespace)
	before := inventory(t, cp)
	if err := d.installCurrent(t.Context(), "127.0.0.1"); err == nil {
		t.Error("it takes the namespace of somebody else")
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	if after := inventory(t, cp); !slices.Contains(after, "namespace/"+storyNamespace) || len(left(before, after)) > 0 {
		t.Errorf("the namespace is gone, or the demo left %q", left(before, after))
	}
	if phase := kubectl(t, cp, "get", "namespace", storyNamespace, "--output=jsonpath={.status.phase}"); phase != "Active" {
		t.Errorf("the namespace is %s", phase)
	}
}

func TestCurrentContextMustExist(t *testing.T) {
	t.Setenv("KUBECONFIG", "/dev/null")
	if _, err := startCurrent(t.Context(), checkout.Path(), "127.0.0.1"); err == nil || !strings.Contains(err.Error(), "has no current context") {
		t.Errorf("got %v", err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
