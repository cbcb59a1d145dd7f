// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/history"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

const (
	// leaseSeconds is so long that a busy machine does not make a worker lose one.
	leaseSeconds  = 10
	leaseDuration = leaseSeconds * time.Second
	// releasedWithin is a lease, the second that the design allows, and 4 seconds for a busy machine. It is shorter than
	// two leases.
	releasedWithin = leaseDuration + time.Second + 4*time.Second
	// checkTimeout bounds the check of a history, which takes less than a second.
	checkTimeout = time.Minute
	// longRun is the number of steps that take a lease and a half.
	longRun = int(3 * leaseDuration / 2 / (150 * time.Millisecond))
)

var _ = Describe("External workers", Ordered, ContinueOnFailure, Label(local), func() {
	var (
		o       *observer
		c       *crew
		f       *feed
		all     map[string]*hired
		victims map[string]bool
	)

	BeforeAll(func() {
		useNamespace()
		o, c, all, victims = observe(), newCrew(), map[string]*hired{}, map[string]bool{}
		for _, identity := range []string{"w1", "w2", "w3", "w4"} {
			all[identity] = c.hire(identity, job, "--concurrency=2")
		}
		all["far"] = c.hireRemote("far", job, "--concurrency=2")
		all["ahead"] = c.hire("ahead", job+",ahead", "--concurrency=2", "--clock-off=1h")
		all["behind"] = c.hire("behind", job+",behind", "--concurrency=2", "--clock-off=-1h")
		f = newFeed(o, func(name string) manifest { return steps(name, 10).leaseFor(leaseSeconds) })
		for i := range 3 {
			f.crowded(fmt.Sprint("crowded", i))
			f.calm(fmt.Sprint("calm", i))
		}
	})

	kill := func(h *hired) { Expect(h.Kill9()).To(Succeed()) }
	rehire := func(h *hired) { all[h.identity] = h.again() }
	// strike hits a worker while it holds runs, and returns the leases that it held. It undoes the hit and tries again if
	// these runs ended in the moment of the hit, or if the handler of a worker that lives on had not begun yet.
	strike := func(identity string, hit func(*hired), undo func(*hired)) []holding {
		GinkgoHelper()
		victims[identity] = true
		var lost []holding
		Eventually(func() []holding {
			Eventually(o.heldBy).WithArguments(identity).WithPolling(10 * time.Millisecond).ShouldNot(BeEmpty())
			hit(all[identity])
			time.Sleep(time.Second) // The observer then has seen every write from before the hit.
			if lost = o.heldBy(identity); !all[identity].Exited() {
				lost = all[identity].executing(lost)
			}
			if len(lost) == 0 {
				undo(all[identity])
			}
			return lost
		}).Should(Not(BeEmpty()))
		return lost
	}
	// releasedInTime waits until the leases are released. It expects that each release came less than releasedWithin after
	// the last renewal was seen, and at least a lease after the last renewal was sent.
	releasedInTime := func(lost []holding) {
		GinkgoHelper()
		for _, h := range lost {
			Eventually(o.releaseOf).WithArguments(h).ShouldNot(BeNil(), "%v", h)
			r := o.releaseOf(h)
			AddReportEntry("released", fmt.Sprintf("%s, generation %d of %s: %s after its last renewal was seen; %s",
				h.run, h.generation, h.holder, r.took(), r.phase))
			Expect(r.took()).To(BeNumerically("<", releasedWithin))
			Expect(r.at-lastRenewal(all[h.holder], r)).To(BeNumerically(">=", leaseDuration.Nanoseconds()), "%v", h)
		}
	}

	It("are replaced when they are killed, within a lease and a second", func() {
		lost := strike("w1", kill, rehire)
		lost = append(lost, strike("w2", kill, rehire)...)
		releasedInTime(lost)
	})

	It("have every write refused after they were stopped for longer than a lease", func() {
		stop := func(h *hired) { Expect(h.Signal(syscall.SIGSTOP)).To(Succeed()) }
		goOn := func(h *hired) { Expect(h.Signal(syscall.SIGCONT)).To(Succeed()) }
		lost := strike("w3", stop, goOn)
		releasedInTime(lost)
		for _, h := range lost {
			Eventually(o.goesOn).WithArguments(h).Should(BeTrue(), "another worker goes on with the key of %v", h)
		}
		returned := history.Now()
		goOn(all["w3"])
		for _, h := range lost {
			stoppedWorking(all["w3"], h)
			foundEverythingRefused(all["w3"], h, returned)
		}
	})

	It("stop their handlers when they are cut off, and have every write refused afterwards", func() {
		var cutAt int64
		cut := func(h *hired) { cutAt = history.Now(); h.link.Cut() }
		lost := strike("far", cut, func(h *hired) { h.link.Heal() })
		releasedInTime(lost)
		for _, h := range lost {
			stoppedWorking(all["far"], h) // without hearing from the API server
			Eventually(o.goesOn).WithArguments(h).Should(BeTrue(), "another worker goes on with the key of %v", h)
		}
		all["far"].link.Heal()
		for _, h := range lost {
			foundEverythingRefused(all["far"], h, cutAt)
		}
	})

	It("may have clocks that are an hour ahead or behind", func() {
		for _, identity := range []string{"ahead", "behind"} {
			apply(steps("long-"+identity, longRun).of(identity).key("long").leaseFor(leaseSeconds))
		}
		for _, identity := range []string{"ahead", "behind"} {
			wait("long-"+identity, "Complete")
			run := get("long-" + identity)
			Expect(run.Status.Lease).To(HaveField("HolderIdentity", identity))
			Expect(run.Status.Attempts).To(BeZero())
			Expect(run.Status.CompletionTime.Sub(run.CreationTimestamp.Time)).To(BeNumerically(">", leaseDuration))
			off := run.Status.Lease.AcquireTime.Sub(run.Status.CompletionTime.Time).Abs()
			Expect(off).To(BeNumerically(">", 50*time.Minute), "the clock of %s is off", identity)
		}
		lost := strike("ahead", kill, rehire)
		lost = append(lost, strike("behind", kill, rehire)...)
		releasedInTime(lost)
	})

	It("end every run once", func() {
		accepted := f.end()
		completed, failed := 0, 0
		for name := range accepted {
			run := o.run(name)
			if run.Status.Phase == v1alpha1.PhaseCompleted {
				completed++
				continue
			}
			failed++
			Expect(run.Status.Error).To(HavePrefix(leaseExpired), name)
			Expect(name).To(HavePrefix("crowded"))
		}
		AddReportEntry("runs", map[string]int{"completed": completed, "failed": failed})
		Expect(completed).To(BeNumerically(">", 10*failed))
	})

	It("lost no lease unless they were struck", func() {
		for _, r := range o.releases() {
			Expect(victims).To(HaveKey(r.holder), "%v", r)
		}
	})

	It("never held a key together in what the API server stored", func() {
		_, violations := o.judgement()
		Expect(violations).To(BeEmpty())
	})

	It("have a linearizable history", func() {
		stored, _ := o.judgement()
		operations := append(history.JoinRetries(c.operations()), stored...)
		count := map[string]int{}
		for _, operation := range operations {
			count[fmt.Sprintf("%s %s", operation.Kind, operation.Outcome)]++
		}
		AddReportEntry("operations", count)
		Expect(history.Check(history.Lease(), operations, checkTimeout)).To(Succeed())
	})

	It("completed each run exactly once, under the generation that did all of its steps", func() {
		completions := map[string]int{}
		for _, operation := range history.JoinRetries(c.operations()) {
			if operation.Kind == history.Complete && operation.Outcome != history.Refused {
				completions[fmt.Sprintf("%s/%d", operation.Run, operation.Generation)]++
			}
		}
		lines := c.worldLines()
		for _, run := range o.runs() {
			if run.Status.Phase != v1alpha1.PhaseCompleted {
				continue
			}
			id := fmt.Sprintf("%s/%d", run.Name, run.Status.FinishedGeneration)
			Expect(completions[id]).To(Equal(1), id)
			want := 10
			if strings.HasPrefix(run.Name, "long-") {
				want = longRun
			}
			Expect(lines[id]).To(Equal(want), id)
		}
	})
})

// lastRenewal returns when a worker sent the last claim or renewal of a lease that was answered before the release.
func lastRenewal(h *hired, r *release) (sent int64) {
	GinkgoHelper()
	for _, operation := range h.operations() {
		claimed := operation.Kind == history.Claim && operation.Run == r.run && operation.Generation == r.generation
		renewed := operation.Kind == history.Renew && operation.Run == ""
		if (claimed || renewed) && operation.Outcome == history.OK && operation.Return < r.at {
			sent = max(sent, operation.Call)
		}
	}
	return sent
}

// stoppedWorking waits until a worker's handler was stopped because the lease is lost.
func stoppedWorking(worked *hired, h holding) {
	GinkgoHelper()
	Eventually(worked.operations).Should(ContainElement(And(
		HaveField("Kind", history.Execute), HaveField("Run", h.run), HaveField("Generation", h.generation),
		HaveField("Outcome", history.OK), HaveField("Answer", worker.ErrLeaseLost.Error()))))
}

// foundEverythingRefused waits until a worker has tried each kind of write under a lease that it lost, and was refused each
// time.
func foundEverythingRefused(worked *hired, h holding, since int64) {
	GinkgoHelper()
	mine := func(operation history.Operation) bool {
		return operation.Run == h.run && operation.Generation == h.generation && operation.Call > since && operation.Kind != history.Execute
	}
	Eventually(func(g Gomega) {
		refused := map[history.Kind]bool{}
		for _, operation := range worked.operations() {
			if mine(operation) && operation.Outcome == history.Refused {
				refused[operation.Kind] = true
			}
		}
		for _, kind := range []history.Kind{history.Renew, history.Progress, history.Complete, history.Fail, history.Write} {
			g.Expect(refused).To(HaveKey(kind))
		}
	}).Should(Succeed())
	for _, operation := range worked.operations() {
		if mine(operation) && operation.Kind != history.Write { // writes outside the API succeed until the successor's first write
			Expect(operation.Outcome).NotTo(Equal(history.OK), "%v", operation)
		}
	}
}

// worldLine is a write of a worker outside the API.
type worldLine struct {
	run        string
	generation int64
}

// linesOf returns the writes for a key.
func (c *crew) linesOf(key string) []worldLine {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(c.world, strings.ReplaceAll(key, "/", "%2F")))
	Expect(err).NotTo(HaveOccurred())
	var lines []worldLine
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		generation, err := strconv.ParseInt(fields[2], 10, 64)
		Expect(err).NotTo(HaveOccurred())
		lines = append(lines, worldLine{fields[1], generation})
	}
	return lines
}

// worldLines counts the writes of each generation of each run. It expects that the writes of different generations for one
// key do not alternate.
func (c *crew) worldLines() map[string]int {
	GinkgoHelper()
	files, err := os.ReadDir(c.world)
	Expect(err).NotTo(HaveOccurred())
	count := map[string]int{}
	for _, file := range files {
		var before worldLine
		for _, line := range c.linesOf(file.Name()) {
			id := fmt.Sprintf("%s/%d", line.run, line.generation)
			if line != before {
				Expect(count).NotTo(HaveKey(id), "the writes of %s alternate with others", id)
			}
			count[id]++
			before = line
		}
	}
	return count
}
