// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// forbidden is a label of JobRuns that a policy refuses after the webhook has admitted them.
const forbidden = "forbidden"

// forbidLabelled makes the API server refuse the JobRuns of the namespace that have the label forbidden.
func forbidLabelled() {
	GinkgoHelper()
	for _, o := range controlplane.RefusalPolicy(ns, forbidden, ns) {
		Expect(k8s.Create(ctx, o)).To(Succeed())
		DeferCleanup(func() { Expect(k8s.Delete(ctx, o)).To(Succeed()) })
	}
	Eventually(func() error {
		_, _, err := trigger(makeRun("probe").label(forbidden, ""), client.DryRunAll)
		return err
	}).Should(WithTransform(apierrors.IsInvalid, BeTrue()))
}

// causesOf returns the causes of a 409 by their type.
func causesOf(err error) map[metav1.CauseType]string {
	GinkgoHelper()
	status := refusal(err)
	Expect(status.Reason).To(Equal(metav1.StatusReasonConflict))
	causes := map[metav1.CauseType]string{}
	for _, cause := range status.Details.Causes {
		Expect(cause.Field).To(Equal("spec.concurrencyKey"))
		causes[cause.Type] = cause.Message
	}
	return causes
}

var _ = Describe("A key whose run was refused after the webhook", func() {
	It("is reserved for a run that does not exist, until the grace period is over", func() {
		forbidLabelled()
		_, _, err := trigger(makeRun("a").key("k").label(forbidden, ""))
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)

		for _, options := range [][]client.CreateOption{nil, {client.DryRunAll}} {
			_, _, err = trigger(makeRun("b").key("k"), options...)
			causes := causesOf(err)
			Expect(causes).To(HaveLen(3))
			Expect(causes).To(HaveKeyWithValue(v1alpha1.CauseReservedRun, "a"))
			reserved, err := time.Parse(time.RFC3339, causes[v1alpha1.CauseReservedAt])
			Expect(err).NotTo(HaveOccurred())
			Expect(reserved).To(BeTemporally("~", time.Now(), 10*time.Second))
			freeBy, err := time.Parse(time.RFC3339, causes[v1alpha1.CauseFreeBy])
			Expect(err).NotTo(HaveOccurred())
			Expect(freeBy).To(BeTemporally(">=", reserved.Add(production().ReservationGrace)))
		}

		Eventually(func() error {
			_, _, err := trigger(makeRun("b").key("k"))
			return err
		}).Should(Succeed())
	})

	It("coalesces, and the receipt becomes a run when the grace period is over", func() {
		forbidLabelled()
		_, _, err := trigger(makeRun("a").key("k").label(forbidden, ""))
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		b, _, err := trigger(makeRun("b").key("k").skip())
		Expect(err).NotTo(HaveOccurred())
		Expect(b).To(beAnswered(v1alpha1.DispositionCoalesced, "a"))
		leased(b)
	})
})

var _ = Describe("A key whose run exists", func() {
	It("is never called reserved, however young the run is", func() {
		for i := range 20 {
			key, name := fmt.Sprint("k", i), fmt.Sprint("a", i)
			created(makeWorkerRun(name).key(key))
			_, _, err := trigger(makeWorkerRun("b").key(key))
			Expect(causesOf(err)).To(Equal(map[metav1.CauseType]string{v1alpha1.CausePendingRun: name}))
		}
	})
})
