// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/journal"
)

var _ = Describe("An upgrade from an older version", Ordered, ContinueOnFailure, func() {
	var (
		namespace string
		j         journal.Journal
		c         *callers
		w         *workers
		odd       *oldObjects
		allow     func(rbacv1.PolicyRule)
		gate      string // a run executes from before the first upgrade until this file exists
	)

	BeforeAll(func() {
		namespace, j, c = newNamespace(), journal.In(GinkgoT().TempDir()), newCallers()
		w = newWorkers(namespace)
		w.hire("old-1", before.worker)
		w.hire("old-2", before.worker)
		odd = createOldObjects()
		gate = GinkgoT().TempDir() + "/gate"
		c.trigger(k8s, makeRun(namespace, "long", inline(j.Locked("until test -e "+gate+"; do sleep 0.2; done")), key("long")))
		c.trigger(k8s, makeRun(namespace, "long-next", inline(j.Locked("true")), key("long")))

		var deployer client.Client
		deployer, allow = newUser(namespace, "deployer",
			rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"jobruns"}, Verbs: []string{"create", "get"}})
		startDeployers(c, deployer, namespace, j)
		startDevelopers(c, newEditor(namespace), namespace)
		goesOn(namespace, j, c)
		Eventually(get(namespace, "long")).Should(inPhase(v1alpha1.PhaseLeased))
	})

	It("goes on under load, once users with inline templates may create Jobs", func() {
		allow(rbacv1.PolicyRule{APIGroups: []string{batchv1.GroupName}, Resources: []string{"jobs"}, Verbs: []string{"create"}})
		upgrade()
		w.hire("new-1", checkout.Path("bin", "testworker"))
		goesOn(namespace, j, c)
		odd.expectTold()
	})

	It("can be rolled back under load", func() {
		rollBack()
		goesOn(namespace, j, c)
	})

	It("can be upgraded again under load", func() {
		upgrade()
		goesOn(namespace, j, c)
	})

	It("goes on with a run that has executed all the time, and with the one behind it", func() {
		run, err := get(namespace, "long")()
		Expect(err).NotTo(HaveOccurred())
		Expect(run).To(And(inPhase(v1alpha1.PhaseLeased), HaveField("Status.Lease.Generation", BeEquivalentTo(1))))
		succeed(touch(gate))
	})

	var stored []v1alpha1.JobRun

	It("leaves an outcome for each accepted trigger, and no other JobRuns", func() {
		c.end()
		AddReportEntry("callers", c.String())
		Expect(c.forbidden).To(BeEmpty(), "triggers of users who lack a right")
		Expect(c.delays).NotTo(HaveKey(ContainSubstring("is forbidden")), "triggers that the operator lacked a right for")
		Eventually(withoutOutcome).WithArguments(namespace).Should(BeEmpty())
		stored = all(namespace)
		w.expectAlive()
		Expect(stored).To(HaveLen(len(c.accepted)))
		for _, run := range stored {
			Expect(c.accepted).To(HaveKey(run.Name))
			completed := meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionComplete)
			Expect(completed).To(BeTrue(), "%s: %s", run.Name, run.Status.Error)
		}
	})

	It("counts each accepted trigger exactly once", func() {
		var runs, counted, idempotent int
		for _, run := range stored {
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
		AddReportEntry("JobRuns", map[string]int{"runs": runs, "coalesced": counted, "idempotent": idempotent})
		Expect(runs).To(BeNumerically(">", 0))
		Expect(counted).To(BeNumerically(">", 0))
		Expect(idempotent).To(BeNumerically(">", 0))
		Expect(runs + counted + idempotent).To(Equal(len(c.accepted)))
	})

	It("never executes two runs of a key at the same time, and no run twice", func() {
		Expect(j.Entries("overlap")).To(BeEmpty())
		executed := map[string]int{}
		starts, err := j.Entries("start")
		Expect(err).NotTo(HaveOccurred())
		for _, line := range starts {
			executed[strings.Fields(line)[1]]++
		}
		for _, run := range stored {
			if run.RunsAsJob() && run.HasEnded() {
				Expect(executed).To(HaveKeyWithValue(run.Name, 1))
			}
		}
		w.expectNoOverlap()
	})

	It("starts the run of each trigger after the trigger was sent", func() {
		started, err := j.LastStarts()
		Expect(err).NotTo(HaveOccurred())
		for _, run := range stored {
			if run.RunsAsJob() && run.Status.Phase != v1alpha1.PhaseIdempotent {
				Expect(started[run.Status.RunRef.Name]).To(BeTemporally(">", c.accepted[run.Name]), run.Name)
			}
		}
	})

	It("starts each batch", func() {
		batches := 0
		for _, run := range stored {
			if run.Spec.Batch != nil {
				batches++
				Expect(run.Status.Batch).To(HaveValue(HaveField("Decision", v1alpha1.BatchStarted)), run.Name)
			}
		}
		Expect(batches).To(BeNumerically(">", 0))
	})

	It("goes on with stored objects that break a newer rule", func() {
		odd.expectOutcomes()
	})

	It("makes definitions work once the older replicas are gone", func() {
		definition := &v1alpha1.JobDefinition{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "defined"},
			Spec:       v1alpha1.JobDefinitionSpec{Template: jobTemplate("true")},
		}
		Expect(k8s.Create(ctx, definition)).To(Succeed())
		run := makeRun(namespace, "defined", func(s *v1alpha1.JobRunSpec) { s.JobName, s.LeaseDurationSeconds = "defined", 0 })
		Eventually(func() error {
			err := k8s.Create(ctx, run.DeepCopy())
			if err != nil {
				Expect(err).To(MatchError(ContainSubstring("a replica of the operator is of an older version")))
			}
			return err
		}).Should(Succeed())
		Eventually(get(namespace, "defined")).Should(inPhase(v1alpha1.PhaseCompleted))
	})

	It("leaves no busy key and no unfinished Job", func() {
		Eventually(busyKeys).WithArguments(namespace).Should(BeEmpty())
		var jobs batchv1.JobList
		Expect(k8s.List(ctx, &jobs, client.InNamespace(namespace))).To(Succeed())
		for _, job := range jobs.Items {
			Expect(job.Status.Conditions).To(ContainElement(HaveField("Type", BeElementOf(batchv1.JobComplete, batchv1.JobFailed))), job.Name)
		}
	})
})

// startDeployers starts callers whose triggers have a template. One in three does not coalesce, another one delivers each trigger twice.
func startDeployers(c *callers, by client.Client, namespace string, j journal.Journal) {
	for caller := range 9 {
		k := key(fmt.Sprint("k", caller/3))
		c.call(by, 1500*time.Millisecond, func(n int) []*v1alpha1.JobRun {
			run := makeRun(namespace, fmt.Sprintf("d-%d-%d", caller, n), inline(j.Locked("sleep 0.2")), k)
			switch caller % 3 {
			case 0:
			case 1:
				skip(&run.Spec)
				delivery(fmt.Sprintf("%d-%d", caller, n/2))(&run.Spec)
			default:
				skip(&run.Spec)
			}
			return []*v1alpha1.JobRun{run}
		})
	}
}

// startDevelopers starts callers whose runs workers execute: with a key, and in batches.
func startDevelopers(c *callers, by client.Client, namespace string) {
	for caller := range 4 {
		c.call(by, time.Second, func(n int) []*v1alpha1.JobRun {
			name, k := fmt.Sprintf("w-%d-%d", caller, n), key(fmt.Sprint("w", caller/2))
			return []*v1alpha1.JobRun{makeRun(namespace, name, k, skip, steps(4))}
		})
	}
	c.call(by, 3*time.Second, func(n int) []*v1alpha1.JobRun {
		var members []*v1alpha1.JobRun
		leader := fmt.Sprintf("b-%d-0", n)
		for i := range 3 {
			members = append(members, makeRun(namespace, fmt.Sprintf("b-%d-%d", n, i), steps(2), func(s *v1alpha1.JobRunSpec) {
				s.Batch = &v1alpha1.BatchMember{ID: fmt.Sprint("batch-", n), Size: 3, Leader: leader}
			}))
		}
		return members
	})
}

// goesOn waits until triggers are accepted, and Jobs and workers end runs.
func goesOn(namespace string, j journal.Journal, c *callers) {
	GinkgoHelper()
	byJobs := func() int {
		lines, err := j.Entries("end")
		Expect(err).NotTo(HaveOccurred())
		return len(lines)
	}
	byWorkers := func() (n int) {
		for _, run := range all(namespace) {
			if run.Status.Phase == v1alpha1.PhaseCompleted && !run.RunsAsJob() {
				n++
			}
		}
		return n
	}
	accepted, jobs, workers := c.numberAccepted(), byJobs(), byWorkers()
	Eventually(c.numberAccepted).Should(BeNumerically(">", accepted+20), c.String)
	Eventually(byJobs).Should(BeNumerically(">", jobs+6), c.String)
	Eventually(byWorkers).Should(BeNumerically(">", workers+6), c.String)
}

// busyKeys returns the concurrencyKeys of a namespace that are not free.
func busyKeys(namespace string) []string {
	GinkgoHelper()
	var found v1alpha1.RunKeyList
	Expect(k8s.List(ctx, &found, client.InNamespace(namespace))).To(Succeed())
	var busy []string
	for _, row := range found.Items {
		if row.Spec.Kind == v1alpha1.RunKeyConcurrency && !runkey.IsFree(&row.Spec) {
			busy = append(busy, row.Spec.Key)
		}
	}
	return busy
}

// change patches a JobRun by a merge patch.
func change(namespace, name, patch string) {
	GinkgoHelper()
	run := makeRun(namespace, name)
	Expect(k8s.Patch(ctx, run, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}
