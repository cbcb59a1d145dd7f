// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/membership"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// awaitMembers waits until these managers see that many members, by their own metrics.
func awaitMembers(n int, seenBy ...*operator.Manager) {
	GinkgoHelper()
	for _, m := range seenBy {
		Eventually(func() (float64, error) {
			families, err := scrape(m)
			return families.Sum("jobrun_members"), err
		}).Should(BeEquivalentTo(n), m.Name)
	}
}

// withhold gives a home to a member that does nothing, until giveBack is called.
func withhold(home membership.Home) (giveBack func()) {
	GinkgoHelper()
	awaitMembers(managers, liveManagers()...)
	var leases coordinationv1.LeaseList
	Expect(k8s.List(ctx, &leases, client.InNamespace(operator.Namespace), client.HasLabels{v1alpha1.LabelMember})).To(Succeed())
	lease := leases.Items[0].DeepCopy()
	members := make([]string, 0, len(leases.Items)+1)
	for _, l := range leases.Items {
		members = append(members, l.Name)
	}
	for n := 0; lease.Name == leases.Items[0].Name || membership.Owner(append(members, lease.Name), home) != lease.Name; n++ {
		lease.Name = fmt.Sprint("jobrun-member-idle-", n)
	}
	lease.ResourceVersion, lease.UID = "", ""
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = ptr.To("idle"), ptr.To(int32(time.Hour.Seconds()))
	Expect(k8s.Create(ctx, lease)).To(Succeed())
	giveBack = func() { Expect(client.IgnoreNotFound(k8s.Delete(ctx, lease))).To(Succeed()) }
	DeferCleanup(giveBack)
	awaitMembers(managers+1, liveManagers()...)
	return giveBack
}

// joinOlder lets a replica be a member that does not know JobDefinitions and owns no home, until giveUp is called.
func joinOlder() (giveUp func()) {
	GinkgoHelper()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: operator.Namespace, Name: "jobrun-member-older", Labels: map[string]string{v1alpha1.LabelMember: "electing"},
			Annotations: map[string]string{v1alpha1.AnnotationProtocolLevel: strconv.Itoa(membership.DefinitionsLevel - 1)},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("older"), LeaseDurationSeconds: ptr.To(int32(time.Hour.Seconds()))},
	}
	Expect(k8s.Create(ctx, lease)).To(Succeed())
	giveUp = func() { Expect(client.IgnoreNotFound(k8s.Delete(ctx, lease))).To(Succeed()) }
	DeferCleanup(giveUp)
	return giveUp
}

func liveManagers() []*operator.Manager {
	return slices.DeleteFunc(slices.Clone(jobrun.Managers()), func(m *operator.Manager) bool { return m.Exited() })
}

// startManagers replaces the managers that have ended, as a Deployment would.
func startManagers() {
	GinkgoHelper()
	for range managers - len(liveManagers()) {
		_, err := jobrun.StartManager(ctx)
		Expect(err).NotTo(HaveOccurred())
	}
}

// scrape reads a manager's metrics as Prometheus does.
func scrape(m *operator.Manager) (operator.Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return jobrun.Metrics(ctx, m)
}
