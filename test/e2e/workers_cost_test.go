// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// These specs count the requests of external workers in the API server's audit log.
var _ = Describe("What external workers cost", Label(local), func() {
	var c *crew

	BeforeEach(func() {
		useNamespace()
		c = newCrew()
	})

	requests := func() []auditv1.Event {
		GinkgoHelper()
		return requestsOf("system:serviceaccount:" + ns + ":" + workerAccount)
	}

	It("is one renewal per worker and period for all of its runs, and none per run", func() {
		const workers, perWorker, periods = 10, 100, 4
		const seconds = 15
		const period = seconds * time.Second / 3
		for i := range workers {
			c.hire(fmt.Sprint("w", i), fmt.Sprint("job-", i), fmt.Sprint("--concurrency=", perWorker))
		}
		triggerMany(workers*perWorker, func(i int) manifest {
			return workerRun(fmt.Sprint("run-", i)).of(fmt.Sprint("job-", i%workers)).leaseFor(seconds).input(`{"gate": "/never"}`)
		})
		Eventually(numberIn).WithPolling(time.Second).WithArguments(v1alpha1.PhaseLeased).Should(Equal(workers * perWorker))

		from := time.Now()
		time.Sleep(periods * period)
		renewals := map[string]int{}
		for _, request := range requests() {
			if request.RequestReceivedTimestamp.Time.Before(from) || request.Verb == "watch" {
				continue
			}
			Expect(request.ObjectRef.Resource).To(Equal("leases"), "%s %s", request.Verb, request.RequestURI)
			Expect(request.Verb).To(Equal("update"))
			renewals[request.ObjectRef.Name]++
		}
		AddReportEntry(fmt.Sprintf("renewals in %d periods, for %d runs", periods, workers*perWorker), renewals)
		Expect(renewals).To(HaveLen(workers))
		Expect(renewals).To(HaveEach(BeNumerically("<=", periods+1))) // one at either end

		var list v1alpha1.JobRunList
		Expect(k8s.List(ctx, &list, client.InNamespace(ns))).To(Succeed())
		for _, run := range list.Items {
			Expect(run.Status.Phase).To(Equal(v1alpha1.PhaseLeased), run.Name)
			Expect(run.Status.Lease.Generation).To(BeEquivalentTo(1), "%s kept its lease all the time", run.Name)
		}
		Expect(k8s.DeleteAllOf(ctx, &v1alpha1.JobRun{}, client.InNamespace(ns))).To(Succeed())
	})

	It("is bounded when 50 idle workers see one run", func() {
		const workers, runs = 50, 5
		c.hire("idle", job, fmt.Sprint("--workers=", workers))
		Eventually(func() int { return len(withVerb(requests(), "watch")) }).Should(Equal(workers))
		number := func() int { return len(requests()) }
		for i := range runs {
			before := number()
			Consistently(number).WithTimeout(2 * time.Second).WithPolling(time.Second).Should(Equal(before))
			name := fmt.Sprint("run-", i)
			apply(workerRun(name).key("k"))
			wait(name, "Complete")
			Expect(get(name).Status.FinishedGeneration).To(BeEquivalentTo(1))
			quiet(number)
			AddReportEntry(fmt.Sprintf("%d idle workers and one run", workers), number()-before)
			// Each worker claims at most twice, the second time if it sees the run late. One worker completes the run.
			Expect(number() - before).To(BeNumerically("<=", 2*workers+1))
		}
	})
})

// quiet waits until a number stays the same for a second.
func quiet(number func() int) {
	GinkgoHelper()
	last := -1
	Eventually(func() bool {
		before := last
		last = number()
		return before == last
	}).WithPolling(time.Second).Should(BeTrue())
}

// triggerMany creates runs, several at a time.
func triggerMany(number int, run func(i int) manifest) {
	GinkgoHelper()
	var group errgroup.Group
	group.SetLimit(16)
	for i := range number {
		group.Go(func() error { return k8s.Create(ctx, run(i).in(ns).obj) })
	}
	Expect(group.Wait()).To(Succeed())
}

// numberIn returns the number of JobRuns in a phase.
func numberIn(phase v1alpha1.Phase) int {
	GinkgoHelper()
	return len(names("jobruns", "--field-selector=status.phase="+string(phase)))
}

func withVerb(requests []auditv1.Event, verb string) []auditv1.Event {
	var found []auditv1.Event
	for _, request := range requests {
		if request.Verb == verb {
			found = append(found, request)
		}
	}
	return found
}
