// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("A RunKey that was deleted by hand", func() {
	// rebuilt deletes the RunKey and waits until it exists again.
	rebuilt := func(name string) *v1alpha1.RunKey {
		GinkgoHelper()
		row := &v1alpha1.RunKey{}
		at := types.NamespacedName{Namespace: ns, Name: name}
		Expect(k8s.Get(ctx, at, row)).To(Succeed())
		old := row.UID
		Expect(k8s.Delete(ctx, row)).To(Succeed())
		Eventually(func() (*v1alpha1.RunKey, error) {
			row = &v1alpha1.RunKey{}
			return row, k8s.Get(ctx, at, row)
		}).Should(HaveField("UID", Not(Equal(old))))
		return row
	}
	concurrencyKey := v1alpha1.ConcurrencyKeyName(job, "k")

	It("is rebuilt while a run waits", func() {
		a := wait(created(makeWorkerRun("a").key("k")), inPhase(v1alpha1.PhasePending))
		row := rebuilt(concurrencyKey)
		Expect(row.Spec.Pending).To(HaveValue(HaveField("Token", a.Spec.Admission.Token)))
		Expect(row.Spec.Leased).To(BeNil())
		absorbed(makeWorkerRun("b").key("k").skip(), a)
	})

	It("is rebuilt while a run executes", func() {
		a, j := leased(created(makeRun("a").key("k")))
		row := rebuilt(concurrencyKey)
		Expect(row.Spec.Leased).To(HaveValue(And(
			HaveField("Token", a.Spec.Admission.Token), HaveField("Generation", BeEquivalentTo(1)))))
		completeJob(j)
		wait(a, inPhase(v1alpha1.PhaseCompleted))
		Eventually(keys).Should(BeEmpty())
		Expect(jobs()).To(HaveLen(1))
	})

	It("is rebuilt while one run executes and one waits", func() {
		a, j := leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		rebuilt(concurrencyKey)
		Eventually(keyOf).WithArguments("k").Should(HaveValue(And(
			HaveField("Leased", HaveValue(HaveField("Token", a.Spec.Admission.Token))),
			HaveField("Pending", HaveValue(HaveField("Token", b.Spec.Admission.Token))))))
		Expect(jobs()).To(HaveLen(1))
		completeJob(j)
		leased(b)
	})

	// taken deletes the RunKey while no controller runs, and lets the next trigger take the key.
	taken := func(next builder) *v1alpha1.JobRun {
		GinkgoHelper()
		theControllers.stop()
		Expect(k8s.Delete(ctx, &v1alpha1.RunKey{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: concurrencyKey}})).To(Succeed())
		next.skip()
		Eventually(func() (*v1alpha1.JobRun, error) {
			run, _, err := trigger(next, client.DryRunAll)
			return run, err
		}).Should(beAnswered(v1alpha1.DispositionCreated, next.obj.Name))
		next.obj.ResourceVersion, next.obj.UID = "", ""
		run := created(next)
		useControllers(production())
		return run
	}

	It("and whose key is taken by the next trigger makes the waiting run wait in line", func() {
		a := wait(created(makeWorkerRun("a").key("k")), inPhase(v1alpha1.PhasePending))
		b := wait(taken(makeWorkerRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		Expect(get("a")()).To(And(inPhase(""), HaveField("Status.Error", ContainSubstring("waits in line"))))
		Consistently(get("a")).Should(inPhase(""))
		cancel(b)
		wait(a, And(inPhase(v1alpha1.PhasePending), HaveField("Status.Error", "")))
		Expect(keyOf("k").Pending.Token).To(Equal(a.Spec.Admission.Token))
	})

	It("and whose key is taken by the next trigger does not disturb the run that executes", func() {
		a, j := leased(created(makeRun("a").key("k")))
		b := wait(taken(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		Expect(jobs()).To(HaveLen(1))
		Expect(keyOf("k").Leased).To(HaveValue(HaveField("Token", a.Spec.Admission.Token)))
		completeJob(j)
		leased(b)
		Expect(get("a")()).To(inPhase(v1alpha1.PhaseCompleted))
	})

	It("is rebuilt for the run that owns an idempotencyKey", func() {
		a := created(makeWorkerRun("a").delivery("d"))
		row := rebuilt(v1alpha1.IdempotencyKeyName(job, "d"))
		Expect(row.Spec.Owner).To(HaveValue(HaveField("Token", a.Spec.Admission.Token)))
	})

	It("is rebuilt for the run that absorbed an idempotencyKey", func() {
		a := created(makeWorkerRun("a").key("k"))
		wait(absorbed(makeWorkerRun("b").key("k").skip().delivery("d"), a), inPhase(v1alpha1.PhaseCoalesced))
		row := rebuilt(v1alpha1.IdempotencyKeyName(job, "d"))
		Expect(row.Spec.Owner).To(HaveValue(HaveField("Token", a.Spec.Admission.Token)))
	})

	It("is not rebuilt if no run uses it", func() {
		a, j := leased(created(makeRun("a").key("k")))
		completeJob(j)
		wait(a, inPhase(v1alpha1.PhaseCompleted))
		Eventually(keys).Should(BeEmpty())
		Consistently(keys).Should(BeEmpty())
	})
})
