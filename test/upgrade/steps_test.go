// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// upgrade applies the manifests of this version and replaces the managers, as "Upgrade and rollback" says.
func upgrade() {
	GinkgoHelper()
	Expect(jobrun.Apply(ctx, checkout.Path())).To(Succeed())
	roll(operator.Replica{Binary: checkout.Path("bin", "manager"), Args: []string{"--leader-elect=false"}})
}

// rollBack deletes what the older version would stumble over, applies its manifests and replaces the managers, as "Upgrade and
// rollback" says. Until the newer managers have ended, they keep the rights that the older manifest does not grant.
func rollBack() {
	GinkgoHelper()
	kept := keepRights("jobrun-rollback")
	kubectl("delete", "validatingwebhookconfiguration", "jobrun-validating-webhook-configuration")
	Expect(jobrun.Apply(ctx, before.root)).To(Succeed())
	kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", "jobrun-rights")
	roll(operator.Replica{Binary: before.manager})
	for _, object := range kept {
		Expect(k8s.Delete(ctx, object)).To(Succeed())
	}
}

// keepRights copies the operator's ClusterRole, and binds the copy to the operator.
func keepRights(name string) []client.Object {
	GinkgoHelper()
	rights := &rbacv1.ClusterRole{}
	Expect(k8s.Get(ctx, client.ObjectKey{Name: "jobrun-manager-role"}, rights)).To(Succeed())
	kept := []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rights.Rules},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: operator.ServiceAccount}},
		},
	}
	for _, object := range kept {
		Expect(k8s.Create(ctx, object)).To(Succeed())
	}
	return kept
}

// roll replaces each manager, as the Deployment does: another one is ready before one ends. So both versions act side by side.
func roll(by operator.Replica) {
	GinkgoHelper()
	for _, m := range live() {
		next, err := jobrun.StartReplica(by)
		Expect(err).NotTo(HaveOccurred())
		Expect(jobrun.AwaitReady(ctx, next)).To(Succeed())
		Expect(jobrun.Retire(m, patience)).To(Succeed())
	}
	jobrun.Rebalance()
}

// live returns the managers that live.
func live() []*operator.Manager {
	var found []*operator.Manager
	for _, m := range jobrun.Managers() {
		if !m.Exited() {
			found = append(found, m)
		}
	}
	return found
}

// kubectl runs kubectl as an administrator.
func kubectl(args ...string) string {
	GinkgoHelper()
	output, err := plane.Kubectl(ctx, args...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "kubectl %s: %s", strings.Join(args, " "), output)
	return string(output)
}
