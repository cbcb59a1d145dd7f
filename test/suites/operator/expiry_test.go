// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// claim leases a run to a worker by an update of its status.
func claim(run *v1alpha1.JobRun, holder string, seconds int32) *v1alpha1.JobRun {
	GinkgoHelper()
	run = wait(run, inPhase(v1alpha1.PhasePending))
	generation := int64(1)
	if run.Status.Lease != nil {
		generation = run.Status.Lease.Generation + 1
	}
	Expect(writeStatus(run, func(s *v1alpha1.JobRunStatus) {
		now := metav1.NowMicro()
		s.Phase = v1alpha1.PhaseLeased
		s.Lease = &v1alpha1.RunLease{
			HolderIdentity: holder, Generation: generation, AcquireTime: &now, RenewTime: &now, DurationSeconds: seconds,
		}
	})).To(Succeed())
	return run
}

// whileDoing calls do twice a second until stop is called, or the spec ends.
func whileDoing(do func() error) (stop func()) {
	GinkgoHelper()
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer GinkgoRecover()
		defer close(done)
		for tick := time.NewTicker(500 * time.Millisecond); ; {
			select {
			case <-ended:
				return
			case <-tick.C:
				Expect(do()).To(Succeed())
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		close(ended)
		<-done
	})
	DeferCleanup(stop)
	return stop
}

var _ = Describe("A worker's lease", func() {
	const seconds = 3

	It("that is not renewed expires, and its holder cannot end the run", func() {
		risen := expirations("requeued")
		a := claim(created(makeWorkerRun("a")), "worker", 1)
		start := time.Now()
		stale := a.DeepCopy()
		a = wait(a, inPhase(v1alpha1.PhasePending))
		Expect(time.Since(start)).To(BeNumerically(">=", 900*time.Millisecond))
		Expect(a.Status.Attempts).To(BeEquivalentTo(1))
		Expect(a.Status.Lease).To(HaveValue(And(HaveField("Generation", BeEquivalentTo(2)), HaveField("HolderIdentity", ""))))
		Eventually(risen).Should(Equal(1))

		complete := func(s *v1alpha1.JobRunStatus) {
			s.Phase, s.FinishedGeneration = v1alpha1.PhaseCompleted, 1
		}
		Expect(apierrors.IsConflict(writeStatus(stale, complete))).To(BeTrue())
		stale.ResourceVersion = a.ResourceVersion
		Expect(apierrors.IsInvalid(writeStatus(stale, complete))).To(BeTrue())

		b := claim(a, "another", 30)
		Expect(b.Status.Lease.Generation).To(BeEquivalentTo(3))
		Expect(writeStatus(b, func(s *v1alpha1.JobRunStatus) {
			s.Phase, s.FinishedGeneration = v1alpha1.PhaseCompleted, 3
		})).To(Succeed())
	})

	It("lasts while its renewTime is renewed", func() {
		a := claim(created(makeWorkerRun("a")), "worker", seconds)
		stop := whileDoing(func() error {
			return writeStatus(a, func(s *v1alpha1.JobRunStatus) { s.Lease.RenewTime = ptr.To(metav1.NowMicro()) })
		})
		Consistently(get("a")).WithTimeout(2 * seconds * time.Second).Should(inPhase(v1alpha1.PhaseLeased))
		stop()
		wait(a, inPhase(v1alpha1.PhasePending))
	})

	It("lasts while the Lease named by its holder is renewed", func() {
		lease := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: "worker", Namespace: ns},
			Spec:       coordinationv1.LeaseSpec{RenewTime: ptr.To(metav1.NowMicro())},
		}
		Expect(k8s.Create(ctx, lease)).To(Succeed())
		a := claim(created(makeWorkerRun("a")), "worker", seconds)
		stop := whileDoing(func() error {
			lease.Spec.RenewTime = ptr.To(metav1.NowMicro())
			return k8s.Update(ctx, lease)
		})
		Consistently(get("a")).WithTimeout(2 * seconds * time.Second).Should(inPhase(v1alpha1.PhaseLeased))
		stop()
		Expect(wait(a, inPhase(v1alpha1.PhasePending)).Status.Attempts).To(BeEquivalentTo(1))
	})

	It("expires if its holder's name cannot be that of a Lease", func() {
		a := claim(created(makeWorkerRun("a").key("k")), "team/50%", 1)
		wait(a, And(inPhase(v1alpha1.PhasePending), HaveField("Status.Attempts", BeEquivalentTo(1))))
	})

	It("that expires for the last time fails the run", func() {
		a := claim(created(makeWorkerRun("a").attempts(1)), "worker", 1)
		a = wait(a, haveCondition(v1alpha1.ConditionFailed))
		Expect(a.Status.Error).To(Equal("Lease expired; all 1 attempts are used"))
	})

	It("has the duration of the spec if the claim has none", func() {
		a := created(makeWorkerRun("a").with(func(r *v1alpha1.JobRun) { r.Spec.LeaseDurationSeconds = 1 }))
		claim(a, "worker", 0)
		wait(a, And(inPhase(v1alpha1.PhasePending), HaveField("Status.Attempts", BeEquivalentTo(1))))
	})

	It("that a Job does not renew expires once its Job is deleted", func() {
		a, j := leased(created(makeRun("a").key("k").with(func(r *v1alpha1.JobRun) { r.Spec.LeaseDurationSeconds = 1 })))
		collect(j)
		Eventually(history(a)).Should(ContainElements("Leased 1", "Pending 2", "Leased 3"))
	})
})
