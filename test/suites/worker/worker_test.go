// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

type output struct {
	By         string `json:"by"`
	Generation int64  `json:"generation"`
}

var _ = Describe("Workers", func() {
	It("execute each run once, and never two runs of a key at once", func() {
		const workers, keys, perKey = 3, 5, 6
		l := newLedger()
		for range workers {
			var p *process
			var ready = make(chan struct{})
			p = startWorker(worker.Options{Concurrency: 2}, func(ctx context.Context, run *worker.Run) (any, error) {
				<-ready
				defer l.begin(run)()
				return output{p.Identity(), run.Generation}, work(ctx, 50*time.Millisecond)
			})
			close(ready)
		}
		var callers sync.WaitGroup
		for key := range keys {
			callers.Go(func() {
				defer GinkgoRecover()
				for i := range perKey {
					trigger(fmt.Sprintf("run-%d-%d", key, i), spec(fmt.Sprintf("key-%d", key), 0))
				}
			})
		}
		callers.Wait()
		by := map[string]int{}
		for key := range keys {
			for i := range perKey {
				outcome, err := runs.Wait(ctx, fmt.Sprintf("run-%d-%d", key, i))
				Expect(err).NotTo(HaveOccurred())
				Expect(outcome.JobRun.Status.FinishedGeneration).To(BeEquivalentTo(1))
				Expect(outcome.JobRun.Status.Lease.KeyVersion).NotTo(BeEmpty())
				by[outcome.JobRun.Status.Lease.HolderIdentity]++
			}
		}
		GinkgoWriter.Println("executed by", by)
		Expect(l.worst).To(Equal(1))
		Expect(l.calls).To(HaveLen(keys * perKey))
		Expect(l.calls).To(HaveEach(1))
	})

	It("make few calls when many idle workers see one run", func() {
		const many = 50
		l := newLedger()
		var all []*process
		for range many {
			all = append(all, startWorker(worker.Options{}, func(_ context.Context, run *worker.Run) (any, error) {
				defer l.begin(run)()
				return nil, nil
			}))
		}
		calls := func() (sum int, of map[string]int) {
			of = map[string]int{}
			for _, p := range all {
				for call, n := range p.wire.counts() {
					of[call] += n
					sum += n
				}
			}
			return sum, of
		}
		Eventually(func() int { _, of := calls(); return of["WATCH"] }).Should(Equal(many))
		before, _ := calls()
		Consistently(func() int { n, _ := calls(); return n }).WithTimeout(3 * time.Second).Should(Equal(before))
		for i := range 6 {
			before, _ := calls()
			trigger(fmt.Sprintf("a-%d", i), spec("k", 0))
			_, err := runs.Wait(ctx, fmt.Sprintf("a-%d", i))
			Expect(err).NotTo(HaveOccurred())
			time.Sleep(time.Second)
			after, of := calls()
			AddReportEntry(fmt.Sprintf("%d idle workers and one run: %d calls (so far %v)", many, after-before, of))
			Expect(after - before).To(BeNumerically("<=", 3*many+1))
		}
		Expect(l.calls).To(HaveLen(6))
	})
})

var _ = Describe("A worker", func() {
	It("that cannot renew loses its runs to another worker, and its late writes are refused", func() {
		var cause atomic.Value
		var late atomic.Pointer[worker.Run]
		released := make(chan struct{})
		first := startWorker(worker.Options{Identity: "first"}, func(ctx context.Context, run *worker.Run) (any, error) {
			late.Store(run)
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			<-released
			return "late", nil
		})
		trigger("a", spec("k", 2))
		Eventually(late.Load).ShouldNot(BeNil())
		first.wire.cut(true)
		begin := time.Now()
		Eventually(cause.Load).Should(BeIdenticalTo(worker.ErrLeaseLost))
		Expect(time.Since(begin)).To(BeNumerically("<", 3*time.Second))

		var progress atomic.Value
		startWorker(worker.Options{Identity: "second"}, func(ctx context.Context, run *worker.Run) (any, error) {
			first.wire.cut(false)
			progress.Store([]error{late.Load().Progress(ctx, 1, 1, "late")})
			close(released)
			return output{"second", run.Generation}, work(ctx, 3*time.Second)
		})
		outcome, err := runs.Wait(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Output.Raw).To(MatchJSON(`{"by":"second","generation":3}`))
		Expect(outcome.JobRun.Status.Attempts).To(BeEquivalentTo(1))
		Expect(progress.Load()).To(ConsistOf(MatchError(worker.ErrLeaseLost)))
		stale := `[{"op":"add","path":"/status/finishedGeneration","value":1},{"op":"add","path":"/status/phase","value":"Failed"}]`
		err = k8s.Status().Patch(ctx, outcome.JobRun, client.RawPatch(types.JSONPatchType, []byte(stale)))
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
	})

	It("fails a run whose handler panics or returns an error", func() {
		startWorker(worker.Options{}, func(_ context.Context, run *worker.Run) (any, error) {
			if run.Name == "panics" {
				panic("oh no")
			}
			return nil, errors.New("no such org")
		})
		trigger("panics", spec("k", 0))
		trigger("fails", spec("k", 0))
		Eventually(get("panics")).Should(And(inPhase(v1alpha1.PhaseFailed), HaveField("Status.Error", "panic: oh no")))
		Eventually(get("fails")).Should(And(inPhase(v1alpha1.PhaseFailed), HaveField("Status.Error", "no such org")))
		_, err := runs.Wait(ctx, "fails")
		Expect(err).To(MatchError(ContainSubstring("no such org")))
	})

	It("stores output and progress, nulls included", func() {
		startWorker(worker.Options{}, func(ctx context.Context, run *worker.Run) (any, error) {
			if err := run.Progress(ctx, 3, 10, "rows"); err != nil {
				return nil, err
			}
			return map[string]any{"rows": 3, "cursor": nil}, nil
		})
		trigger("a", spec("", 0))
		outcome, err := runs.Wait(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Output.Raw).To(MatchJSON(`{"rows":3,"cursor":null}`))
		Expect(outcome.JobRun.Status.Progress).To(HaveValue(HaveField("Message", "rows")))
	})

	It("stops the handler of a cancelled run", func() {
		var cause atomic.Value
		executing := make(chan struct{})
		startWorker(worker.Options{}, func(ctx context.Context, _ *worker.Run) (any, error) {
			close(executing)
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			return "late", nil
		})
		trigger("a", spec("k", 0))
		Eventually(executing).Should(BeClosed())
		Expect(runs.Cancel(ctx, "a")).To(Succeed())
		Eventually(cause.Load).Should(BeIdenticalTo(worker.ErrCancelled))
		Eventually(get("a")).Should(And(inPhase(v1alpha1.PhaseCancelled), HaveField("Status.Output", BeNil())))
	})

	It("gives back the runs that it cannot finish when it ends", func() {
		executing := make(chan string, 2)
		first := startWorker(worker.Options{Identity: "first", Concurrency: 2, ShutdownGrace: 2 * time.Second}, func(ctx context.Context, run *worker.Run) (any, error) {
			executing <- run.Name
			if run.Name == "short" {
				return "done", work(ctx, time.Second)
			}
			return nil, work(ctx, time.Minute)
		})
		trigger("short", spec("k", 0))
		trigger("long", spec("l", 0))
		Eventually(executing).Should(HaveLen(2))
		lease := types.NamespacedName{Namespace: ns, Name: "first"}
		Expect(k8s.Get(ctx, lease, &coordinationv1.Lease{})).To(Succeed())
		first.quit()
		Eventually(first.done).Should(BeClosed())
		Expect(first.err).NotTo(HaveOccurred())
		Expect(get("short")()).To(inPhase(v1alpha1.PhaseCompleted))
		Expect(apierrors.IsNotFound(k8s.Get(ctx, lease, &coordinationv1.Lease{}))).To(BeTrue())

		startWorker(worker.Options{}, func(_ context.Context, run *worker.Run) (any, error) { return run.Generation, nil })
		outcome, err := runs.Wait(ctx, "long")
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Output.Raw).To(MatchJSON(`3`))
		Expect(outcome.JobRun.Status.Attempts).To(BeZero())
	})

	It("keeps its runs if its connections are cut for less than the lease", func() {
		l := newLedger()
		executing := make(chan struct{})
		p := startWorker(worker.Options{}, func(ctx context.Context, run *worker.Run) (any, error) {
			defer l.begin(run)()
			close(executing)
			return run.Generation, work(ctx, 2*time.Second)
		})
		trigger("a", spec("k", 12))
		Eventually(executing).Should(BeClosed())
		p.wire.cut(true)
		time.Sleep(6 * time.Second)
		p.wire.cut(false)
		outcome, err := runs.Wait(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Output.Raw).To(MatchJSON(`1`))
		Expect(outcome.JobRun.Status.Attempts).To(BeZero())
	})

	It("keeps its runs if its Lease is deleted", func() {
		p := startWorker(worker.Options{}, func(ctx context.Context, run *worker.Run) (any, error) {
			return run.Generation, work(ctx, 5*time.Second)
		})
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: p.Identity()}}
		Eventually(func() error { return k8s.Delete(ctx, lease) }).Should(Succeed())
		trigger("a", spec("k", 2))
		outcome, err := runs.Wait(ctx, "a")
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Output.Raw).To(MatchJSON(`1`))
		Expect(outcome.JobRun.Status.Attempts).To(BeZero())
	})

	It("may have a clock that is an hour ahead or behind", func() {
		for name, by := range map[string]time.Duration{"behind": -time.Hour, "ahead": time.Hour} {
			p := startWorker(worker.Options{Identity: name, Clock: skewed{by: by}}, func(ctx context.Context, run *worker.Run) (any, error) {
				return run.Generation, work(ctx, 5*time.Second)
			})
			trigger(name, spec("k-"+name, 2))
			outcome, err := runs.Wait(ctx, name)
			Expect(err).NotTo(HaveOccurred())
			Expect(outcome.Output.Raw).To(MatchJSON(`1`))
			Expect(outcome.JobRun.Status.Attempts).To(BeZero())
			p.quit()
			Eventually(p.done).Should(BeClosed())
		}
	})
})

// skewed is a clock that is ahead, or behind if by is negative.
type skewed struct {
	clock.RealClock

	by time.Duration
}

func (c skewed) Now() time.Time                  { return time.Now().Add(c.by) }
func (c skewed) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
