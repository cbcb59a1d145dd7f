// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

var _ = Describe("TriggerAndWait", func() {
	It("returns the run, its output and the disposition", func() {
		w := background(func(*waited) (jobrun.Outcome, error) {
			return runs.TriggerAndWait(ctx, job("k"), jobrun.WithName("a"))
		})
		complete("a", `{"rows":3}`)
		outcome, err := w.result()
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Output.Raw).To(MatchJSON(`{"rows":3}`))
		Expect(outcome.Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(outcome.Run).To(Equal(v1alpha1.ObjectReference{Name: "a", UID: outcome.JobRun.UID}))
		Expect(wire.sent()).To(Equal([]string{"POST", "WATCH"}))
	})

	It("lets all callers that coalesce wait for the same run, even if their receipts are deleted", func() {
		executing, pending := busy("k")
		const many = 4 * receiptHistory
		var callers sync.WaitGroup
		outcomes := make([]jobrun.Outcome, many)
		for i := range many {
			callers.Go(func() {
				defer GinkgoRecover()
				var err error
				outcomes[i], err = runs.TriggerAndWait(ctx, skipping(job("k")), jobrun.WithName(fmt.Sprint("c-", i)))
				Expect(err).NotTo(HaveOccurred())
			})
		}
		Eventually(get(pending)).Should(HaveField("Status.Coalesced", HaveValue(HaveField("Count", BeEquivalentTo(many)))))
		Eventually(func() ([]v1alpha1.JobRun, error) {
			return runs.List(ctx, jobrun.Selector{}, v1alpha1.PhaseCoalesced)
		}).Should(HaveLen(receiptHistory))
		complete(executing, "")
		complete(pending, `{"rows":7}`)
		callers.Wait()
		for _, outcome := range outcomes {
			Expect(outcome.Run.Name).To(Equal(pending))
			Expect(outcome.Disposition).To(Equal(v1alpha1.DispositionCoalesced))
			Expect(outcome.Output.Raw).To(MatchJSON(`{"rows":7}`))
		}
	})

	It("has the outcome of the first delivery", func() {
		spec := worker()
		spec.IdempotencyKey = "once"
		a := trigger(spec, jobrun.WithName("a")).JobRun.Name
		Eventually(get(a)).Should(HaveField("Status.Phase", v1alpha1.PhasePending))
		w := background(func(w *waited) (jobrun.Outcome, error) {
			return runs.TriggerAndWait(ctx, spec, jobrun.OnProgress(w.note))
		})
		Eventually(func() ([]v1alpha1.JobRun, error) {
			return runs.List(ctx, jobrun.Selector{}, v1alpha1.PhaseIdempotent)
		}).Should(HaveLen(1))
		Expect(work(a, claim)).To(Succeed())
		for i := range int64(3) {
			Expect(work(a, progress(i))).To(Succeed())
			Eventually(w.reported).Should(ContainElement(i))
		}
		Expect(work(a, finish)).To(Succeed())
		outcome, err := w.result()
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Disposition).To(Equal(v1alpha1.DispositionIdempotent))
		Expect(outcome.Run.Name).To(Equal(a))
		Expect(outcome.Output.Raw).To(MatchJSON(`{"rows":3}`))
		Expect(w.reported()).To(Equal([]int64{0, 1, 2}))
	})

	It("returns ErrCancelled for a receipt whose run is cancelled before it starts", func() {
		_, pending := busy("k")
		w := background(func(*waited) (jobrun.Outcome, error) { return runs.TriggerAndWait(ctx, skipping(job("k"))) })
		Eventually(get(pending)).Should(HaveField("Status.Coalesced", Not(BeNil())))
		Expect(runs.Cancel(ctx, pending)).To(Succeed())
		outcome, err := w.result()
		Expect(err).To(MatchError(jobrun.ErrCancelled))
		Expect(outcome.Run.Name).To(Equal(pending))
	})

	It("ends with its context", func() {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := runs.TriggerAndWait(short, worker(), jobrun.WithName("a"))
		Expect(err).To(MatchError(context.DeadlineExceeded))
		Expect(get("a")()).To(HaveField("Name", "a"))
	})
})

var _ = Describe("Wait", func() {
	It("outlives cut connections", func() {
		a := trigger(worker(), jobrun.WithName("a")).JobRun.Name
		Eventually(get(a)).Should(HaveField("Status.Phase", v1alpha1.PhasePending))
		w := startWait(a)
		Expect(work(a, claim)).To(Succeed())
		for i := range int64(5) {
			wire.cut()
			Expect(work(a, progress(i))).To(Succeed())
			Eventually(w.reported).Should(ContainElement(i))
		}
		wire.cut()
		Expect(work(a, finish)).To(Succeed())
		_, err := w.result()
		Expect(err).NotTo(HaveOccurred())
	})
})

// These specs are serial because they restart the server of all specs.
var _ = Describe("A restart of the API server", Serial, func() {
	It("does not end waits and watches, which miss nothing", func() {
		executing, pending := busy("k")
		events := startWatch(jobrun.Selector{JobName: "sync"})
		var waits []*waited
		for _, name := range []string{executing, pending} {
			waits = append(waits, startWait(name))
		}
		for range 2 {
			waits = append(waits, background(func(*waited) (jobrun.Outcome, error) {
				return runs.TriggerAndWait(ctx, skipping(job("k")))
			}))
		}
		Eventually(events.of(pending)).Should(ConsistOf(HavePrefix("coalesced"), HavePrefix("coalesced")))

		Expect(cp.KillAPIServer()).To(Succeed())
		Consistently(func() bool { return waits[0].ended() || waits[3].ended() }).Should(BeFalse())
		Expect(cp.StartAPIServer(ctx)).To(Succeed())
		// The watch also delivers what happens before it is back.
		complete(executing, `{"rows":1}`)
		complete(pending, `{"rows":2}`)

		for i, w := range waits {
			outcome, err := w.result()
			Expect(err).NotTo(HaveOccurred())
			Expect(outcome.Output.Raw).To(MatchJSON(fmt.Sprintf(`{"rows":%d}`, min(i+1, 2))))
		}
		Eventually(events.of(executing)).Should(Equal([]string{"complete"}))
		Eventually(events.of(pending)).Should(HaveExactElements(HavePrefix("coalesced"), HavePrefix("coalesced"), Equal("leased"), Equal("complete")))
	})

	It("in good order does not end waits, and loses no accepted trigger", func() {
		a := trigger(worker(), jobrun.WithName("a")).JobRun.Name
		w := startWait(a)
		var (
			callers sync.WaitGroup
			mu      sync.Mutex
			names   []string
		)
		stop, cancel := context.WithCancel(ctx)
		for range 4 {
			callers.Go(func() {
				for stop.Err() == nil {
					result, err := runs.Trigger(ctx, worker())
					if err == nil {
						mu.Lock()
						names = append(names, result.JobRun.Name)
						mu.Unlock()
					}
				}
			})
		}
		Expect(cp.RestartAPIServer(ctx)).To(Succeed())
		cancel()
		callers.Wait()
		Eventually(func() error { return work(a, claim) }).Should(Succeed())
		Expect(work(a, finish)).To(Succeed())
		_, err := w.result()
		Expect(err).NotTo(HaveOccurred())
		for _, name := range names {
			Expect(get(name)()).To(HaveField("Name", name))
		}
	})
})

func (w *waited) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}
