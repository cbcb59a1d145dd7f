package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/controlplane"
)

// The costs of section 7 of the design, as etcd stored them. Each spec takes
// several runs, and adds up what was written for all of them.
var _ = Describe("What is written to etcd", Label(local), func() {
	const several = 3

	var counter *controlplane.WriteCounter

	BeforeEach(func() {
		useNamespace()
		var err error
		counter, err = plane.NewWriteCounter(ctx)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(counter.Close()).To(Succeed()) })
	})

	under := func(prefix string) controlplane.Writes {
		GinkgoHelper()
		writes, err := counter.Under(ctx, "batch.jobrun.dev/"+prefix)
		Expect(err).NotTo(HaveOccurred())
		return writes
	}
	runKeys := func() controlplane.Writes { return under("runkeys/" + ns + "/") }
	// of adds up what was written for these JobRuns.
	of := func(names ...string) controlplane.Writes {
		GinkgoHelper()
		var sum controlplane.Writes
		for _, name := range names {
			writes := under("jobruns/" + ns + "/" + name)
			sum.Puts += writes.Puts
			sum.Deletes += writes.Deletes
		}
		return sum
	}
	// settled waits until everything has its outcome and nothing more is written.
	settled := func(names ...string) {
		GinkgoHelper()
		for _, name := range names {
			wait(name, "Complete")
		}
		Eventually(concurrencyKeys).Should(BeEmpty())
		total := func() int { return under("jobruns/"+ns+"/").Total() + runKeys().Total() }
		before := total()
		Consistently(total, time.Second).Should(Equal(before))
	}
	trigger := func(prefix string, change func(manifest, int) manifest) []string {
		GinkgoHelper()
		var names []string
		for i := range several {
			m := change(run(fmt.Sprintf("%s-%d", prefix, i), quick), i)
			apply(m)
			names = append(names, m.obj.Name)
		}
		return names
	}

	It("is 3 writes for a run without keys", func() {
		runs := trigger("run", func(m manifest, _ int) manifest { return m })
		settled(runs...)
		Expect(of(runs...)).To(Equal(controlplane.Writes{Puts: 3 * several}))
		Expect(runKeys().Total()).To(BeZero())
	})

	It("is 6 writes for a run with a concurrencyKey that need not wait", func() {
		runs := trigger("run", func(m manifest, i int) manifest { return m.key(fmt.Sprint("k", i)) })
		settled(runs...)
		Expect(of(runs...)).To(Equal(controlplane.Writes{Puts: 3 * several}))
		Expect(runKeys()).To(Equal(controlplane.Writes{Puts: 2 * several, Deletes: several}))
	})

	It("is 2 writes more for an idempotencyKey, the last when the run is deleted", func() {
		runs := trigger("run", func(m manifest, i int) manifest { return m.delivery(fmt.Sprint("d", i)) })
		settled(runs...)
		kubectl("delete", "jobruns", "--all")
		Eventually(names).WithArguments("runkeys").Should(BeEmpty())
		Expect(of(runs...)).To(Equal(controlplane.Writes{Puts: 3 * several, Deletes: several}))
		Expect(runKeys()).To(Equal(controlplane.Writes{Puts: several, Deletes: several}))
	})

	Context("for keys that are busy", func() {
		var gate string
		var first, next []string
		key := func(i int) string { return fmt.Sprint("k", i) }

		BeforeEach(func() {
			gate = filepath.Join(GinkgoT().TempDir(), "gate")
			first = trigger("first", func(_ manifest, i int) manifest {
				return run(fmt.Sprint("first-", i), "until [ -e "+gate+" ]; do sleep 0.1; done").key(key(i))
			})
			for _, name := range first {
				wait(name, "Leased")
			}
			next = trigger("next", func(m manifest, i int) manifest { return m.key(key(i)) })
			for _, name := range next {
				wait(name, "Pending")
			}
		})
		open := func() { Expect(os.WriteFile(gate, nil, 0o600)).To(Succeed()) }
		expectRunKeys := func() { // of two runs each
			Expect(runKeys()).To(Equal(controlplane.Writes{Puts: 5 * several, Deletes: several}))
		}

		It("is 1 write more for a run that waits, and none for a trigger that is refused", func() {
			before := versions()
			for i := range several {
				m := run("refused", quick).key(key(i))
				Expect(tryApply(m).Code).To(Equal(1))
				Expect(tryWith(asYAML(m.skip()), "apply", "--dry-run=server", "-f", "-").Code).To(BeZero())
			}
			Expect(versions()).To(Equal(before))
			open()
			settled(append(first, next...)...)
			Expect(of(first...)).To(Equal(controlplane.Writes{Puts: 3 * several}))
			Expect(of(next...)).To(Equal(controlplane.Writes{Puts: 4 * several}))
			expectRunKeys()
			Expect(under("jobruns/" + ns + "/refused").Total()).To(BeZero())
		})

		It("is 4 writes for a receipt that is deleted, and 1 for the run that counts many", func() {
			// While nobody leads, triggers are answered but not counted.
			Expect(jobrun.Kill(leader())).To(Succeed())
			var receipts []string
			for i := range v1alpha1.MaxRecent {
				m := run(fmt.Sprint("receipt-", i), quick).key(key(0)).skip()
				Expect(k8s.Create(ctx, m.in(ns).obj)).To(Succeed())
				receipts = append(receipts, m.obj.Name)
			}
			Expect(names("jobruns", "--field-selector=status.phase=Coalesced")).To(BeEmpty(), "was there no leader meanwhile?")
			_, err := jobrun.StartManager(ctx)
			Expect(err).NotTo(HaveOccurred())
			wait(receipts[0], "Coalesced")
			open()
			settled(append(append(first, next...), receipts...)...)
			kubectl("delete", "jobruns", "--selector=batch.jobrun.dev/disposition=coalesced")

			Expect(of(first...)).To(Equal(controlplane.Writes{Puts: 3 * several}))
			Expect(of(next...)).To(Equal(controlplane.Writes{Puts: 4*several + 1}))
			Expect(under("jobruns/" + ns + "/receipt-")).To(Equal(controlplane.Writes{Puts: 3 * len(receipts), Deletes: len(receipts)}))
			expectRunKeys()
		})
	})
})

// concurrencyKeys are those that are busy.
func concurrencyKeys() []string {
	GinkgoHelper()
	var busy []string
	for _, name := range names("runkeys") {
		if name[0] == 'c' {
			busy = append(busy, name)
		}
	}
	return busy
}
