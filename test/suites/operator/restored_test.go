// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// restored creates JobRuns again as Velero does. It keeps their names, labels, annotations and specs, drops the rest, and adds its
// labels. It restores them in the order of their names.
func restored(backup []v1alpha1.JobRun) []*v1alpha1.JobRun {
	GinkgoHelper()
	var all []*v1alpha1.JobRun
	for _, run := range backup {
		again := &v1alpha1.JobRun{
			ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name, Labels: run.Labels, Annotations: run.Annotations},
			Spec:       run.Spec,
		}
		b := builder{again}.label("velero.io/backup-name", "nightly").label(v1alpha1.LabelVeleroRestore, "after-the-fire")
		again, warnings, err := trigger(b)
		Expect(err).NotTo(HaveOccurred(), run.Name)
		Expect(warnings).To(ConsistOf(ContainSubstring("it ends Cancelled, and does not execute again")), run.Name)
		all = append(all, again)
	}
	return all
}

// endRestored matches a JobRun that ended because it was restored.
func endRestored() gomegatypes.GomegaMatcher {
	return And(
		inPhase(v1alpha1.PhaseCancelled), haveCondition(v1alpha1.ConditionCancelled), haveCondition(v1alpha1.ConditionStalled),
		HaveField("Status.Error", And(
			ContainSubstring("restored by Velero (restore after-the-fire)"), ContainSubstring("kubectl jobrun retrigger "))),
		HaveField("Status.Conditions", ContainElement(And(
			HaveField("Type", v1alpha1.ConditionCancelled), HaveField("Reason", decision.ReasonRestored)))),
		HaveField("Status.Lease", BeNil()), HaveField("Status.Coalesced", BeNil()),
	)
}

var _ = Describe("A restore from a backup by Velero", func() {
	// lose deletes the JobRuns, as a disaster would.
	lose := func(backup []v1alpha1.JobRun) {
		GinkgoHelper()
		for i := range backup {
			remove(&backup[i])
		}
		Eventually(func() []batchv1.Job {
			for _, job := range jobs() { // No controller removes the finalizers of those that the operator has deleted.
				noFinalizer := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
				Expect(client.IgnoreNotFound(k8s.Patch(ctx, &job, noFinalizer))).To(Succeed())
				Expect(client.IgnoreNotFound(k8s.Delete(ctx, &job))).To(Succeed())
			}
			return jobs()
		}).Should(BeEmpty())
		Eventually(runs).Should(BeEmpty())
		Eventually(keys).Should(BeEmpty())
	}

	It("ends what had completed, what waited, and receipts, and executes nothing", func() {
		a, j := leased(created(makeRun("a").key("k").delivery("i")))
		b := wait(created(makeRun("b").key("k").skip()), inPhase(v1alpha1.PhasePending))
		wait(absorbed(makeRun("c").key("k").skip(), b), inPhase(v1alpha1.PhaseCoalesced))
		again, _ := delivered(makeRun("d").delivery("i"), a)
		wait(created(makeWorkerRun("e")), inPhase(v1alpha1.PhasePending))
		completeJob(j)
		wait(again, haveCondition(v1alpha1.ConditionComplete))
		leased(b)
		backup := runs()
		Expect(backup).To(HaveLen(5))
		lose(backup)

		for _, run := range restored(backup) {
			was := backup[slices.IndexFunc(backup, func(r v1alpha1.JobRun) bool { return r.Name == run.Name })]
			Expect(run.Spec.Admission.Token).NotTo(Equal(was.Spec.Admission.Token))
			wait(run, endRestored())
		}
		Consistently(jobs).Should(BeEmpty())
		Expect(keys()).To(BeEmpty())
	})

	It("leaves the keys to new triggers, and what was restored can be triggered again", func() {
		a, j := leased(created(makeRun("a").key("k").delivery("i")))
		completeJob(j)
		wait(a, inPhase(v1alpha1.PhaseCompleted))
		backup := runs()
		lose(backup)
		wait(restored(backup)[0], endRestored())

		leased(created(makeRun("b").key("k").delivery("i")))
		result, err := jobrun.New(newClient(), ns).Retrigger(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		wait(result.JobRun, And(inPhase(v1alpha1.PhasePending), HaveField("Spec.Admission.Restore", BeEmpty())))
	})

	It("does not disturb the run that took the key meanwhile", func() {
		wait(created(makeRun("a").key("k").skip()), inPhase(v1alpha1.PhaseLeased))
		backup := runs()
		lose(backup)
		b, _ := leased(created(makeRun("b").key("k")))
		c := wait(created(makeRun("c").key("k").skip()), inPhase(v1alpha1.PhasePending))
		wait(restored(backup)[0], endRestored())
		Expect(get("b")()).To(inPhase(v1alpha1.PhaseLeased))
		Expect(get("c")()).To(And(inPhase(v1alpha1.PhasePending), HaveField("Status.Coalesced", BeNil())))
		Expect(keyOf("k").Leased.Token).To(Equal(b.Spec.Admission.Token))
		Expect(keyOf("k").Pending.Token).To(Equal(c.Spec.Admission.Token))
	})

	It("does not let the status be put back", func() {
		a, j := leased(created(makeRun("a").key("k")))
		completeJob(j)
		wait(a, inPhase(v1alpha1.PhaseCompleted))
		backup := runs()
		lose(backup)
		again := restored(backup)[0]
		Eventually(func(g Gomega) {
			current, err := get("a")()
			g.Expect(err).NotTo(HaveOccurred())
			current.Status = backup[0].Status
			err = k8s.Status().Update(ctx, current)
			g.Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err) // not a conflict with the operator
		}).Should(Succeed())
		wait(again, endRestored())
	})

	It("is known by what the webhook wrote: a trigger with the label alone executes", func() {
		leased(created(makeRun("a").label(v1alpha1.LabelVeleroRestore, "copied")))
	})

	It("ends the members of a batch", func() {
		created(makeRun("a").batch("a", 2))
		wait(created(makeRun("b").batch("a", 2)), inPhase(v1alpha1.PhaseLeased))
		backup := runs()
		lose(backup)
		for _, run := range restored(backup) {
			wait(run, endRestored())
		}
	})
})
