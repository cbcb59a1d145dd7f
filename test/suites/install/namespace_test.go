// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	local "github.com/jobrun-dev/jobrun/test/harness/operator"
)

const anotherNamespace = "platform-jobs"

// elsewhere returns an installation in another namespace, by an overlay.
func elsewhere(t *testing.T, base string) manifests {
	t.Helper()
	dir := t.TempDir()
	if err := local.WriteOverlay(dir, root, base, anotherNamespace); err != nil {
		t.Fatal(err)
	}
	yaml := kustomized(t, dir)
	NewWithT(t).Expect(string(yaml)).NotTo(ContainSubstring(namespace))
	return parse(t, yaml)
}

// namespace returns the namespace that the operator is installed in.
func (m manifests) namespace(t *testing.T) string {
	t.Helper()
	return the[appsv1.Deployment](t, m, "Deployment").Namespace
}

// mistaken reports whether kustomize takes a kind for namespaced that is not. The API server ignores such a namespace.
func mistaken(kind, installedIn string) bool {
	return installedIn == anotherNamespace && slices.Contains([]string{
		"FlowSchema", "PriorityLevelConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
	}, kind)
}

func TestInstallerTakesTheNamespace(t *testing.T) {
	g, dir := NewWithT(t), t.TempDir()
	_, err := output(exec.Command("make", "-f", "hack/make/deploy.mk", "build-installer", "NAMESPACE="+anotherNamespace, "DIST="+dir))
	g.Expect(err).NotTo(HaveOccurred())
	yaml, err := os.ReadFile(filepath.Join(dir, "install.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(yaml)).NotTo(ContainSubstring(namespace))
	g.Expect(parse(t, yaml).namespace(t)).To(Equal(anotherNamespace))
}

// A trigger with a key needs all that names the operator: the policy on RunKeys, the webhooks and the roles.
func TestTriggerWithAKeyInAnotherNamespace(t *testing.T) {
	g, ctx := NewWithT(t), t.Context()
	binary := filepath.Join(t.TempDir(), "manager")
	_, err := output(exec.Command("go", "build", "-o", binary, "./cmd"))
	g.Expect(err).NotTo(HaveOccurred())
	cp, err := controlplane.Start(ctx, controlplane.Options{NoScheduler: true})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(cp.Stop()).To(Succeed()) })
	installed, err := local.Install(ctx, cp, local.Options{Root: root, Namespace: anotherNamespace, Managers: 1, Binary: binary})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(installed.Stop()).To(Succeed()) })

	c := newClient(t, cp.AdminConfig())
	run := newRun("a")
	run.Spec.ConcurrencyKey = "acme"
	g.Eventually(func() error { return c.Create(ctx, run.DeepCopy()) }).WithTimeout(patience).Should(Succeed())
	g.Eventually(func() (v1alpha1.Phase, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(run), run)
		return run.Status.Phase, err
	}).WithTimeout(patience).Should(Equal(v1alpha1.PhasePending))
}
