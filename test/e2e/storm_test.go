// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/journal"
)

var _ = Describe("A storm of triggers on a few keys", Ordered, ContinueOnFailure, Label(local), func() {
	var j journal.Journal
	var s *storm

	BeforeAll(func() {
		useNamespace()
		j = newJournal()
		s = startStorm(j.Locked("sleep 0.5"), "k0", "k1", "k2", "k3", "k4")
	})

	// goesOn waits until triggers are accepted and runs end again.
	goesOn := func() {
		GinkgoHelper()
		ended := func() int {
			lines, err := j.Entries("end")
			Expect(err).NotTo(HaveOccurred())
			return len(lines)
		}
		accepted, before := s.numberAccepted(), ended()
		Eventually(s.numberAccepted).Should(BeNumerically(">", accepted+callers/4), s.why)
		Eventually(ended).Should(BeNumerically(">", before+len(s.keys)))
	}

	It("goes on when a manager is killed", func() {
		goesOn()
		Expect(jobrun.Kill(liveManagers()[0])).To(Succeed())
		startManagers()
		goesOn()
	})

	It("goes on when the API server is killed", func() {
		withoutAPIServer(func() {
			Expect(plane.KillAPIServer()).To(Succeed())
			Expect(plane.StartAPIServer(ctx)).To(Succeed())
		})
		goesOn()
	})

	It("goes on when a manager was paused and acts again", func() {
		paused, others := liveManagers()[0], liveManagers()[1:]
		Expect(paused.Signal(syscall.SIGSTOP)).To(Succeed())
		awaitMembers(len(others), others...)
		goesOn()
		Expect(paused.Signal(syscall.SIGCONT)).To(Succeed())
		awaitMembers(managers, liveManagers()...)
		goesOn()
	})

	It("goes on when the API server is restarted", func() {
		withoutAPIServer(func() { Expect(plane.RestartAPIServer(ctx)).To(Succeed()) })
		goesOn()
	})

	var all []v1alpha1.JobRun

	It("leaves an outcome for each accepted trigger, and no other JobRuns", func() {
		s.end()
		startManagers()
		Eventually(func(g Gomega) {
			var list v1alpha1.JobRunList
			g.Expect(k8s.List(ctx, &list, client.InNamespace(ns))).To(Succeed())
			all = list.Items
			g.Expect(withoutOutcome(all)).To(BeEmpty())
		}).Should(Succeed())
		Expect(all).To(HaveLen(len(s.accepted)))
		for _, run := range all {
			Expect(s.accepted).To(HaveKey(run.Name))
			Expect(meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionComplete)).To(BeTrue(), run.Name)
		}
	})

	It("counts each accepted trigger exactly once", func() {
		var runs, counted, idempotent int
		for _, run := range all {
			switch run.Status.Phase {
			case v1alpha1.PhaseCoalesced:
			case v1alpha1.PhaseIdempotent:
				idempotent++
			default:
				runs++
			}
			if run.Status.Coalesced != nil {
				counted += int(run.Status.Coalesced.Count)
			}
		}
		AddReportEntry("storm", map[string]int{
			"accepted": len(s.accepted), "refused": s.refused, "runs": runs, "coalesced": counted, "idempotent": idempotent,
		})
		Expect(runs + counted + idempotent).To(Equal(len(s.accepted)))
	})

	It("never executes two runs of a key at the same time", func() {
		Expect(j.Entries("overlap")).To(BeEmpty())
	})

	It("starts the run of each trigger after the trigger was sent", func() {
		started, err := j.LastStarts()
		Expect(err).NotTo(HaveOccurred())
		for _, run := range all {
			if run.Status.Phase != v1alpha1.PhaseIdempotent {
				Expect(started[run.Status.RunRef.Name]).To(BeTemporally(">", s.accepted[run.Name]), run.Name)
			}
		}
	})

	It("leaves no busy key and no unfinished Job", func() {
		Eventually(concurrencyKeys).Should(BeEmpty())
		var jobs batchv1.JobList
		Expect(k8s.List(ctx, &jobs, client.InNamespace(ns))).To(Succeed())
		for _, job := range jobs.Items {
			Expect(job.Status.Conditions).To(ContainElement(HaveField("Type", BeElementOf(batchv1.JobComplete, batchv1.JobFailed))))
		}
		Expect(k8s.DeleteAllOf(ctx, &v1alpha1.JobRun{}, client.InNamespace(ns))).To(Succeed())
		Eventually(takenKeys).Should(BeEmpty())
	})
})

// withoutOutcome returns the names of the JobRuns without an outcome.
func withoutOutcome(runs []v1alpha1.JobRun) []string {
	var found []string
	for _, run := range runs {
		if run.Status.CompletionTime == nil {
			found = append(found, run.Name)
		}
	}
	return found
}
