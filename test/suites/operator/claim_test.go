// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
)

// tryClaim claims a run at the version that was read, under the next generation.
func tryClaim(run *v1alpha1.JobRun, holder string, opts ...client.SubResourceUpdateOption) (*v1alpha1.JobRun, error) {
	claimed := run.DeepCopy()
	generation := int64(1)
	if run.Status.Lease != nil {
		generation = run.Status.Lease.Generation + 1
	}
	now := metav1.NowMicro()
	claimed.Status.Phase = v1alpha1.PhaseLeased
	claimed.Status.Lease = &v1alpha1.RunLease{
		HolderIdentity: holder, Generation: generation, AcquireTime: &now, RenewTime: &now, DurationSeconds: 30,
	}
	return claimed, k8s.Status().Update(ctx, claimed, opts...)
}

// pending waits until the run is Pending, and returns it.
func pending(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	GinkgoHelper()
	return wait(run, inPhase(v1alpha1.PhasePending))
}

func completed(s *v1alpha1.JobRunStatus) {
	s.Phase, s.FinishedGeneration = v1alpha1.PhaseCompleted, s.Lease.Generation
}

// giveBack gives the run back: no holder, the next generation.
func giveBack(s *v1alpha1.JobRunStatus) {
	s.Lease = &v1alpha1.RunLease{Generation: s.Lease.Generation + 1, KeyVersion: s.Lease.KeyVersion}
}

func patchStatus(run *v1alpha1.JobRun, patch string) error {
	return k8s.Status().Patch(ctx, run.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
}

var _ = Describe("A worker's claim of a run with a key", func() {
	It("leases the key until the worker completes the run", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		row := keyOf("k")
		a = claim(a, "worker", 30)
		Expect(a.Status.Lease.KeyVersion).NotTo(BeEmpty())
		Expect(row.Pending.RunName).To(Equal("a"))
		Expect(keyOf("k")).To(HaveValue(And(HaveField("Pending", BeNil()), HaveField("Leased", HaveValue(And(
			HaveField("RunName", "a"), HaveField("Generation", BeEquivalentTo(1)), HaveField("FromVersion", a.Status.Lease.KeyVersion)))))))

		b := pending(created(makeWorkerRun("b").key("k")))
		Expect(writeStatus(a, completed)).To(Succeed())
		a = wait(a, haveCondition(v1alpha1.ConditionComplete))
		Expect(a.Status.CompletionTime).NotTo(BeNil())
		Expect(a.Status.StartTime).NotTo(BeNil())
		Eventually(func() *v1alpha1.LeasedRun { return keyOf("k").Leased }).Should(BeNil())
		claim(b, "worker", 30)
	})

	It("succeeds for one of many workers", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		var won, lost atomic.Int32
		var group errgroup.Group
		for i := range 20 {
			group.Go(func() error {
				_, err := tryClaim(a, fmt.Sprintf("worker-%d", i))
				switch {
				case err == nil:
					won.Add(1)
				case apierrors.IsConflict(err):
					lost.Add(1)
				default:
					return err
				}
				return nil
			})
		}
		Expect(group.Wait()).To(Succeed())
		Expect([]int32{won.Load(), lost.Load()}).To(Equal([]int32{1, 19}))
		Expect(keyOf("k").Leased.Generation).To(BeEquivalentTo(1))
	})

	It("is refused while a Job or a worker executes another run of the key", func() {
		leased(created(makeRun("a").key("k")))
		b := pending(created(makeWorkerRun("b").key("k")))
		_, err := tryClaim(b, "worker")
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)
		Expect(err).To(MatchError(ContainSubstring("executes for the key")))

		c := claim(created(makeWorkerRun("c").key("l")), "worker", 30)
		d := pending(created(makeWorkerRun("d").key("l")))
		_, err = tryClaim(d, "worker")
		Expect(err).To(MatchError(ContainSubstring("run c executes for the key of run d")))
		Expect(writeStatus(c, completed)).To(Succeed())
		Eventually(func() error { _, err := tryClaim(d, "worker"); return err }).Should(Succeed())
	})

	It("is refused unless the run waits and the generation is the next one", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		wrong := a.DeepCopy()
		wrong.Status.Lease = &v1alpha1.RunLease{Generation: 6}
		_, err := tryClaim(wrong, "worker")
		Expect(err).To(MatchError(ContainSubstring("the lease of run a has generation 1")))
		stale := a.DeepCopy()
		claim(a, "worker", 30)
		_, err = tryClaim(stale, "another")
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)

		b := created(makeRun("b").key("m"))
		b = wait(b, inPhase(v1alpha1.PhaseLeased))
		_, err = tryClaim(b, "worker")
		Expect(apierrors.IsInvalid(err) || apierrors.IsConflict(err)).To(BeTrue(), "%v", err)
	})

	It("leases the key of the stored run, whatever spec the update has", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		bare := a.DeepCopy()
		bare.Spec = v1alpha1.JobRunSpec{JobName: a.Spec.JobName}
		claimed, err := tryClaim(bare, "worker")
		Expect(err).NotTo(HaveOccurred())
		Expect(claimed.Status.Lease.KeyVersion).NotTo(BeEmpty())
		Expect(keyOf("k").Leased.RunName).To(Equal("a"))

		leased(created(makeRun("b").key("l")))
		c := pending(created(makeRun("c").key("l")))
		c.Spec.Template = nil
		_, err = tryClaim(c, "worker")
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		Expect(err).To(MatchError(ContainSubstring("executed by a Job")))
	})

	It("at an old version of the run does not lease the key", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		stale := a.DeepCopy()
		wait(absorbed(makeWorkerRun("b").key("k").skip(), a), inPhase(v1alpha1.PhaseCoalesced))
		_, err := tryClaim(stale, "worker")
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)
		Expect(keyOf("k")).To(HaveValue(And(HaveField("Leased", BeNil()), HaveField("Pending.RunName", "a"))))
	})

	It("changes nothing in a dry run", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		_, err := tryClaim(a, "worker", client.DryRunAll)
		Expect(err).NotTo(HaveOccurred())
		Expect(keyOf("k").Leased).To(BeNil())
		Expect(get("a")()).To(inPhase(v1alpha1.PhasePending))
	})

	It("is the evidence that a run started after its receipts", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		b := absorbed(makeWorkerRun("b").key("k").skip(), a)
		a = claim(wait(a, haveAbsorbed(1)), "worker", 30)
		c := created(makeWorkerRun("c").key("k"))
		d := absorbed(makeWorkerRun("d").key("k").skip(), c)
		Expect(patchStatus(a, fmt.Sprintf(`{"status":{"phase":"Completed","finishedGeneration":%d,"output":{"n":1}}}`, a.Status.Lease.Generation))).To(Succeed())
		Expect(wait(b, haveCondition(v1alpha1.ConditionComplete)).Status.Output.Raw).To(MatchJSON(`{"n":1}`))
		wait(d, beBoundTo(c))
	})

	It("emits an event", func() {
		a := claim(created(makeWorkerRun("a").key("k")), "worker", 30)
		Eventually(events(a)).Should(ContainElement(event("RunLeased", "run:leased", "Normal", HaveField("Note", ContainSubstring("worker worker")))))
		Expect(writeStatus(a, completed)).To(Succeed())
		Eventually(events(a)).Should(ContainElement(event("RunCompleted", "run:complete", "Normal")))
	})
})

var _ = Describe("A holder that lost its lease", func() {
	It("has every write refused", func() {
		a := claim(created(makeWorkerRun("a").key("k")), "worker", 1)
		a = pending(a)
		Expect(a.Status.Lease.Generation).To(BeEquivalentTo(2))
		a = claim(a, "another", 30)
		Expect(a.Status.Lease.Generation).To(BeEquivalentTo(3))
		for name, patch := range map[string]string{
			"completes under a stale generation": `{"status":{"phase":"Completed","finishedGeneration":1}}`,
			"completes without a generation":     `{"status":{"phase":"Completed"}}`,
			"reports progress":                   `{"status":{"progress":{"generation":1,"current":5}}}`,
			"takes the lease over":               `{"status":{"lease":{"holderIdentity":"worker"}}}`,
			"takes the generation back":          `{"status":{"lease":{"generation":1}}}`,
			"removes the lease":                  `{"status":{"lease":null}}`,
			"removes the status":                 `{"status":null}`,
		} {
			err := patchStatus(a, patch)
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%s: %v", name, err)
		}
		Expect(patchStatus(a, `{"status":{"phase":"Completed","finishedGeneration":3}}`)).To(Succeed())
	})

	It("has every write refused after its run failed for the run that waits", func() {
		a := claim(created(makeWorkerRun("a").key("k")), "worker", 2)
		b := pending(created(makeWorkerRun("b").key("k")))
		a = wait(a, inPhase(v1alpha1.PhaseFailed))
		Expect(a.Status.Error).To(Equal("Lease expired; pending run b already exists"))
		claim(b, "worker", 30)
		for name, patch := range map[string]string{
			"fails it again":   `{"status":{"phase":"Failed","finishedGeneration":1,"error":"late"}}`,
			"reports progress": `{"status":{"progress":{"generation":1,"current":5}}}`,
			"renews":           `{"status":{"lease":{"generation":1,"renewTime":"2026-11-25T20:07:06.259816Z"}}}`,
		} {
			err := patchStatus(a, patch)
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%s: %v", name, err)
			Expect(err).To(MatchError(ContainSubstring("these fields are final after the end")), name)
		}
	})
})

var _ = Describe("A worker that gives a run back", func() {
	It("lets it wait again, without an attempt", func() {
		a := claim(created(makeWorkerRun("a").key("k")), "worker", 30)
		Expect(writeStatus(a, giveBack)).To(Succeed())
		a = pending(a)
		Expect(a.Status.Attempts).To(BeZero())
		Expect(keyOf("k").Pending).To(HaveValue(HaveField("Generation", BeEquivalentTo(2))))
		Expect(claim(a, "another", 30).Status.Lease.Generation).To(BeEquivalentTo(3))
	})

	It("lets a run without a key wait again, too", func() {
		a := claim(created(makeWorkerRun("a")), "worker", 30)
		Expect(writeStatus(a, giveBack)).To(Succeed())
		claim(pending(a), "another", 30)
	})
})

var _ = Describe("A claim that was granted and not stored", Ordered, func() {
	BeforeAll(func() { useControllers(shortGrace()) })

	grant := func(run *v1alpha1.JobRun) {
		GinkgoHelper()
		keys := keystore.New(keystore.Options{Cached: k8s, Live: k8s, Writer: k8s, Clock: clock.RealClock{}})
		_, err := keys.Grant(ctx, run, 1, false)
		Expect(err).NotTo(HaveOccurred())
		Expect(keyOf("k").Leased.RunName).To(Equal(run.Name))
	}

	It("is taken over by the next claim, under the same generation", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		grant(a)
		from := keyOf("k").Leased.FromVersion
		a = claim(a, "worker", 30)
		Expect(a.Status.Lease.Generation).To(BeEquivalentTo(1))
		Expect(keyOf("k").Leased.FromVersion).NotTo(Equal(from))
		Consistently(get("a")).WithTimeout(3 * time.Second).Should(inPhase(v1alpha1.PhaseLeased))
	})

	It("is taken back after the grace period, without an attempt", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		grant(a)
		late, fenced := a.DeepCopy(), wait(a, HaveField("Status.Lease", HaveValue(HaveField("Generation", BeEquivalentTo(1)))))
		Expect(fenced.Status.Attempts).To(BeZero())
		Eventually(func() *v1alpha1.PendingRun { return keyOf("k").Pending }).Should(HaveValue(HaveField("Generation", BeEquivalentTo(1))))
		_, err := tryClaim(late, "late")
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)
		Expect(claim(fenced, "worker", 30).Status.Lease.Generation).To(BeEquivalentTo(2))
	})

	It("is left to the next claim while another run waits, and fails no run", func() {
		a := pending(created(makeWorkerRun("a").key("k")))
		grant(a)
		b := created(makeWorkerRun("b").key("k"))
		Consistently(get("a")).WithTimeout(4 * time.Second).Should(inPhase(v1alpha1.PhasePending))
		a = claim(a, "worker", 30)
		pending(b)
		Expect(writeStatus(a, completed)).To(Succeed())
		Eventually(func() error { _, err := tryClaim(pending(b), "worker"); return err }).Should(Succeed())
	})
})

var _ = Describe("A run that executes for longer than activeDeadlineSeconds", func() {
	It("fails although its worker renews, and the worker's completion is refused", func() {
		a := claim(created(makeWorkerRun("a").key("k").with(func(r *v1alpha1.JobRun) { r.Spec.ActiveDeadlineSeconds = 2 })), "worker", 30)
		a = wait(a, haveCondition(v1alpha1.ConditionFailed))
		Expect(a.Status.Error).To(ContainSubstring("activeDeadlineSeconds"))
		Expect(patchStatus(a, `{"status":{"phase":"Completed","finishedGeneration":1}}`)).NotTo(Succeed())
		Eventually(keys).Should(BeEmpty())
	})

	It("has a Job with that deadline", func() {
		_, j := leased(created(makeRun("a").with(func(r *v1alpha1.JobRun) { r.Spec.ActiveDeadlineSeconds = 77 })))
		Expect(j.Spec.ActiveDeadlineSeconds).To(HaveValue(BeEquivalentTo(77)))
	})
})
