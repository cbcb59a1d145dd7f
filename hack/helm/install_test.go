// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"helm.sh/helm/v3/pkg/action"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	served    = "team-a"
	notServed = "team-b"

	managerName = "jobrun-controller-manager"
	gatewayName = "jobrun-gateway" // of the Deployment and of the ServiceAccount
)

// The life of a release, with a key that is busy all the time.
func TestRelease(t *testing.T) {
	c := startCluster(t)
	c.createNamespace(t, served)
	c.createNamespace(t, notServed)
	c.installOperator(t, withGateway())
	manager := c.startManager(t)

	t.Run("a key becomes busy", func(t *testing.T) {
		g := NewWithT(t)
		g.Expect(c.admin.Create(t.Context(), newRun(served, "first", "acme"))).To(Succeed())
		g.Eventually(c.phase(t, served, "first")).WithTimeout(patience).Should(Equal(v1alpha1.PhaseLeased))
		g.Expect(c.admin.Create(t.Context(), newRun(served, "second", "acme"))).To(Succeed())
		g.Eventually(c.phase(t, served, "second")).WithTimeout(patience).Should(Equal(v1alpha1.PhasePending))
		g.Expect(c.jobs(t, served)).To(ConsistOf("first-1"))
	})
	t.Run("an upgrade changes objects and CRDs, and a rollback changes them back", func(t *testing.T) { testUpgrade(t, c) })
	t.Run("a second release is refused", func(t *testing.T) { testSecondRelease(t, c) })
	t.Run("the runs outlive the release", func(t *testing.T) { manager = testReinstall(t, c, manager) })
	t.Run("the dashboards ask for metrics that exist", func(t *testing.T) { testDashboards(t, c, manager) })
	t.Run("the operator serves some namespaces alone", func(t *testing.T) { manager = testNamespaces(t, c, manager) })
	t.Run("without crds.keep the CRDs go", func(t *testing.T) {
		c.stopManager(t, manager)
		c.upgrade(t, loaded(t), map[string]any{"crds": map[string]any{"keep": false}})
		c.uninstall(t)
		g := NewWithT(t)
		g.Eventually(func() bool {
			return apierrors.IsNotFound(c.admin.Get(t.Context(), client.ObjectKey{Name: "jobruns.batch.jobrun.dev"}, &apiextensionsv1.CustomResourceDefinition{}))
		}).WithTimeout(patience).Should(BeTrue())
	})
	t.Run("what kubectl has applied is taken over", func(t *testing.T) { testTakeOver(t, c) })
	NewWithT(t).Expect(c.refusedTo(t, operator.ServiceAccount)).To(BeEmpty())
}

func withGateway() map[string]any {
	return map[string]any{"gateway": map[string]any{"enabled": true, "receivers": true}}
}

func testUpgrade(t *testing.T, c *cluster) {
	g := NewWithT(t)
	changed := loaded(t)
	for _, template := range changed.Templates {
		if template.Name == "templates/crd-runkeys.yaml" {
			template.Data = []byte(strings.Replace(string(template.Data), "    - rk\n", "    - rk\n    - rkey\n", 1))
		}
	}
	c.upgrade(t, changed, map[string]any{"manager": map[string]any{"priorityClassName": "platform"}})
	g.Expect(c.crd(t, "runkeys").Spec.Names.ShortNames).To(ConsistOf("rk", "rkey"))
	g.Expect(c.deployment(t, managerName).Spec.Template.Spec.PriorityClassName).To(Equal("platform"))
	g.Expect(c.phase(t, served, "first")()).To(Equal(v1alpha1.PhaseLeased), "the upgrade leaves the runs alone")

	rollback := action.NewRollback(c.helm)
	rollback.Version = 1
	g.Expect(rollback.Run(releaseName)).To(Succeed())
	g.Expect(c.crd(t, "runkeys").Spec.Names.ShortNames).To(ConsistOf("rk"))
	g.Expect(c.deployment(t, managerName).Spec.Template.Spec.PriorityClassName).To(BeEmpty())
	g.Expect(c.phase(t, served, "second")()).To(Equal(v1alpha1.PhasePending))
}

// All names are fixed, so Helm sees that the objects belong to another release.
func testSecondRelease(t *testing.T, c *cluster) {
	install := action.NewInstall(c.helm)
	install.ReleaseName, install.Namespace, install.PostRenderer = "another", namespace, c.transforms
	_, err := install.Run(loaded(t), nil)
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring(`annotation validation error: key "meta.helm.sh/release-name" must equal "another"`)))
}

// testReinstall uninstalls the release while a key is busy, as docs/operations.md says, and installs it again. It returns the new
// manager.
func testReinstall(t *testing.T, c *cluster, manager *operator.Manager) *operator.Manager {
	g, ctx := NewWithT(t), t.Context()
	c.stopManager(t, manager)
	refused := newRun(served, "refused", "acme")
	g.Expect(c.admin.Create(ctx, refused.DeepCopy())).To(MatchError(ContainSubstring("failed calling webhook")), "nothing is accepted unguarded")

	before := len(c.deleted(t))
	c.uninstall(t)
	order := c.deleted(t)[before:]
	g.Expect(order).To(ContainElements("deployments", "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "clusterroles"))
	g.Expect(order).NotTo(ContainElement("customresourcedefinitions"))
	g.Expect(slices.Index(order, "deployments")).To(BeNumerically("<", slices.Index(order, "validatingwebhookconfigurations")),
		"the fence goes after the Deployment")
	g.Expect(c.phase(t, served, "first")()).To(Equal(v1alpha1.PhaseLeased))
	g.Expect(c.phase(t, served, "second")()).To(Equal(v1alpha1.PhasePending))
	var keys v1alpha1.RunKeyList
	g.Expect(c.admin.List(ctx, &keys, client.InNamespace(served))).To(Succeed())
	g.Expect(keys.Items).To(HaveLen(1))
	g.Expect(c.jobs(t, served)).To(ConsistOf("first-1"))

	g.Expect(c.install(loaded(t), withGateway())).To(Succeed(), "Helm takes the CRDs over that it has kept")
	manager = c.startManager(t)
	g.Expect(c.admin.Create(ctx, refused.DeepCopy())).To(MatchError(ContainSubstring("run second is pending")), "the key is still busy")
	c.complete(t, served, "first-1")
	g.Eventually(c.phase(t, served, "first")).WithTimeout(patience).Should(Equal(v1alpha1.PhaseCompleted))
	g.Eventually(c.phase(t, served, "second")).WithTimeout(patience).Should(Equal(v1alpha1.PhaseLeased))
	g.Expect(c.jobs(t, served)).To(ConsistOf("first-1", "second-1"), "nothing executes twice")
	return manager
}

// testTakeOver installs the chart where kubectl has applied config/default.
func testTakeOver(t *testing.T, c *cluster) {
	g := NewWithT(t)
	manifests, err := c.Kubectl(t.Context(), "kustomize", checkout.Path("config/default")).Output()
	g.Expect(err).NotTo(HaveOccurred())
	_, err = c.InstallManifests(t.Context(), manifests, c.transforms...)
	g.Expect(err).NotTo(HaveOccurred())

	install := action.NewInstall(c.helm)
	install.ReleaseName, install.Namespace, install.PostRenderer = releaseName, namespace, c.transforms
	_, err = install.Run(loaded(t), nil)
	g.Expect(err).To(MatchError(ContainSubstring("invalid ownership metadata")))
	install.TakeOwnership = true
	_, err = install.Run(loaded(t), nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(c.deployment(t, managerName).Annotations).To(HaveKeyWithValue("meta.helm.sh/release-name", releaseName))
}

// testNamespaces limits the operator to one namespace. It returns the new manager.
func testNamespaces(t *testing.T, c *cluster, manager *operator.Manager) *operator.Manager {
	g, ctx := NewWithT(t), t.Context()
	c.stopManager(t, manager)
	values := withGateway()
	values["namespaces"] = []any{served}
	c.upgrade(t, loaded(t), values)
	var role rbacv1.ClusterRole
	g.Expect(c.admin.Get(ctx, client.ObjectKey{Name: "jobrun-manager-role"}, &role)).To(Succeed())
	for _, rule := range role.Rules {
		g.Expect(rule.APIGroups).To(Equal([]string{"authorization.k8s.io"}), "all other rights are in Roles")
	}
	manager = c.startManager(t)

	g.Expect(c.admin.Create(ctx, newRun(served, "third", "globex"))).To(Succeed())
	g.Eventually(c.phase(t, served, "third")).WithTimeout(patience).Should(Equal(v1alpha1.PhaseLeased))
	c.complete(t, served, "second-1")
	c.complete(t, served, "third-1")
	g.Eventually(c.phase(t, served, "second")).WithTimeout(patience).Should(Equal(v1alpha1.PhaseCompleted))
	g.Eventually(c.phase(t, served, "third")).WithTimeout(patience).Should(Equal(v1alpha1.PhaseCompleted))

	elsewhere := newRun(notServed, "elsewhere", "acme")
	g.Eventually(func() error { return c.admin.Create(ctx, elsewhere.DeepCopy(), client.DryRunAll) }).WithTimeout(patience).
		Should(MatchError(ContainSubstring("the JobRun operator serves only the namespaces team-a")))

	testGatewayOfNamespaces(t, c)

	// Without the policy and the webhooks' namespaceSelector, the webhook refuses it.
	c.withoutSelectors(t)
	g.Eventually(func() error { return c.admin.Create(ctx, elsewhere.DeepCopy(), client.DryRunAll) }).WithTimeout(patience).
		Should(MatchError(ContainSubstring(`the JobRun operator does not serve namespace "team-b", only team-a`)))
	return manager
}

// withoutSelectors removes what keeps the API server from asking the webhook about other namespaces.
func (c *cluster) withoutSelectors(t *testing.T) {
	t.Helper()
	g, ctx := NewWithT(t), t.Context()
	var binding admissionregistrationv1.ValidatingAdmissionPolicyBinding
	g.Expect(c.admin.Get(ctx, client.ObjectKey{Name: "jobrun-served-namespaces"}, &binding)).To(Succeed())
	g.Expect(c.admin.Delete(ctx, &binding)).To(Succeed())
	var webhooks admissionregistrationv1.MutatingWebhookConfiguration
	g.Expect(c.admin.Get(ctx, client.ObjectKey{Name: "jobrun-mutating-webhook-configuration"}, &webhooks)).To(Succeed())
	for i := range webhooks.Webhooks {
		g.Expect(webhooks.Webhooks[i].NamespaceSelector.MatchExpressions).To(HaveLen(1))
		webhooks.Webhooks[i].NamespaceSelector = nil
	}
	g.Expect(c.admin.Update(ctx, &webhooks)).To(Succeed())
}
