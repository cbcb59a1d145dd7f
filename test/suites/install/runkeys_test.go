// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func newRunKey(namespace string) *v1alpha1.RunKey {
	return &v1alpha1.RunKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: v1alpha1.ConcurrencyKeyName("sync", "acme")},
		Spec: v1alpha1.RunKeySpec{
			Kind:    v1alpha1.RunKeyConcurrency,
			JobName: "sync",
			Key:     "acme",
			Pending: &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: "sync-1", Token: "token-1"}},
		},
	}
}

// Only the operator may write RunKeys, whatever the roles of other users allow.
func TestRunKeysAreWrittenByTheOperatorAlone(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, namespace, "jobrun-controller-manager")
	operator := as(t, kubeconfig, err)
	kubeconfig, err = c.KubeconfigFor("mallory")
	mallory := as(t, kubeconfig, err)
	c.grantAll(t, "mallory")
	const refusal = "RunKeys are written by the JobRun operator alone"

	team := c.newNamespace(t)
	key := newRunKey(team)
	for name, other := range map[string]client.Client{"a user with all rights": mallory, "system:masters": c.admin} {
		g.Eventually(func() error { return other.Create(ctx, newRunKey(team)) }).WithTimeout(patience).
			Should(And(MatchError(ContainSubstring(refusal)), Satisfy(apierrors.IsForbidden)), "create by %s", name)
	}
	g.Expect(operator.Create(ctx, key)).To(Succeed())
	for name, other := range map[string]client.Client{"a user with all rights": mallory, "system:masters": c.admin} {
		changed := key.DeepCopy()
		changed.Spec.Pending.RunName = "mine"
		g.Expect(other.Update(ctx, changed)).To(MatchError(ContainSubstring(refusal)), "update by %s", name)
		labelled := key.DeepCopy()
		labelled.Finalizers = []string{"example.com/never"}
		g.Expect(other.Update(ctx, labelled)).To(MatchError(ContainSubstring(refusal)), "finalizer by %s", name)
		owned := key.DeepCopy()
		owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: "gone"}}
		g.Expect(other.Update(ctx, owned)).To(MatchError(ContainSubstring(refusal)), "owner by %s", name)
	}
	key.Spec.Pending.RunName = "sync-2"
	g.Expect(operator.Update(ctx, key)).To(Succeed())

	g.Expect(mallory.Delete(ctx, key)).To(Succeed())
}

// A restore, a migration of the stored version and a label change nothing that the operator decides by.
func TestRunKeysMayBeWrittenAsTheyAre(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	team := c.newNamespace(t)
	key := c.createRunKey(t, team)

	out, err := c.shell("kubectl get runkeys -A -o json | kubectl replace -f -")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(out).To(ContainSubstring("%s replaced", key.Name))

	// The StorageVersionMigrator applies an object of nothing but its identity.
	identity := &unstructured.Unstructured{}
	identity.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RunKey"))
	identity.SetNamespace(team)
	identity.SetName(key.Name)
	migrate := client.ApplyConfigurationFromUnstructured(identity)
	g.Expect(c.admin.Apply(ctx, migrate, client.FieldOwner("storage-version-migrator-controller"))).To(Succeed())

	_, err = c.kubectl("-n", team, "label", "runkey", key.Name, "team=a")
	g.Expect(err).NotTo(HaveOccurred())
	_, err = c.kubectl("-n", team, "annotate", "runkey", key.Name, "note=b")
	g.Expect(err).NotTo(HaveOccurred())
	stored := &v1alpha1.RunKey{}
	g.Expect(c.admin.Get(ctx, client.ObjectKeyFromObject(key), stored)).To(Succeed())
	g.Expect(stored.Spec).To(Equal(key.Spec))
}

func TestRunKeysCanBeDeletedInTheForeground(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	key := c.createRunKey(t, c.newNamespace(t))
	g.Expect(c.admin.Delete(ctx, key, client.PropagationPolicy(metav1.DeletePropagationForeground))).To(Succeed())
	c.expectGone(t, key)
}

func TestNamespacesWithRunKeysCanBeDeleted(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	team := c.newNamespace(t)
	key := c.createRunKey(t, team)
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}}
	g.Expect(c.admin.Delete(ctx, object)).To(Succeed())
	c.expectGone(t, key)
	c.expectGone(t, object)
}

// createRunKey creates a RunKey as the operator does.
func (c *cluster) createRunKey(t *testing.T, inNamespace string) *v1alpha1.RunKey {
	t.Helper()
	kubeconfig, err := c.ServiceAccountKubeconfig(t.Context(), namespace, "jobrun-controller-manager")
	operator, key := as(t, kubeconfig, err), newRunKey(inNamespace)
	if err := operator.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *cluster) expectGone(t *testing.T, object client.Object) {
	t.Helper()
	NewWithT(t).Eventually(func() error {
		return c.admin.Get(t.Context(), client.ObjectKeyFromObject(object), object)
	}).WithTimeout(patience).Should(Satisfy(apierrors.IsNotFound))
}

// grantAll gives a user all rights on JobRun's objects.
func (c *cluster) grantAll(t *testing.T, user string) {
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := c.admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}
