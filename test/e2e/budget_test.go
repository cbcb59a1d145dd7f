// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/membership"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// These specs check the costs in section 10 of docs/design.md. Each spec adds up the writes to etcd for several runs.
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
	runs := func(prefix string) controlplane.Writes { return under("jobruns/" + ns + "/" + prefix) }
	// settle waits until every JobRun has its outcome and nothing more is written.
	settle := func() {
		GinkgoHelper()
		kubectl("wait", "jobruns", "--all", "--for=condition=Complete", "--timeout="+patience.String())
		Eventually(concurrencyKeys).Should(BeEmpty())
		total := func() int { return runs("").Total() + runKeys().Total() }
		before := total()
		Consistently(total, time.Second).Should(Equal(before))
	}
	// trigger applies the manifests PREFIX-0, PREFIX-1 and so on, after change has changed them.
	trigger := func(prefix string, change func(manifest, int) manifest) {
		GinkgoHelper()
		for i := range several {
			apply(change(run(fmt.Sprintf("%s-%d", prefix, i), quick), i))
		}
	}
	inPhase := func(prefix, phase string) {
		GinkgoHelper()
		for i := range several {
			wait(fmt.Sprintf("%s-%d", prefix, i), phase)
		}
	}

	It("is 3 writes for a run without keys", func() {
		trigger("run", func(m manifest, _ int) manifest { return m })
		settle()
		Expect(runs("run-")).To(Equal(controlplane.Writes{Puts: 3 * several}))
		Expect(runKeys().Total()).To(BeZero())
	})

	It("is 6 writes for a run with a concurrencyKey that does not wait", func() {
		trigger("run", func(m manifest, i int) manifest { return m.key(fmt.Sprint("k", i)) })
		settle()
		Expect(runs("run-")).To(Equal(controlplane.Writes{Puts: 3 * several}))
		Expect(runKeys()).To(Equal(controlplane.Writes{Puts: 2 * several, Deletes: several}))
	})

	It("is 2 writes more for an idempotencyKey, the last when the run is deleted", func() {
		trigger("run", func(m manifest, i int) manifest { return m.delivery(fmt.Sprint("d", i)) })
		settle()
		kubectl("delete", "jobruns", "--all")
		Eventually(takenKeys).Should(BeEmpty())
		Expect(runs("run-")).To(Equal(controlplane.Writes{Puts: 3 * several, Deletes: several}))
		Expect(runKeys()).To(Equal(controlplane.Writes{Puts: several, Deletes: several}))
	})

	Context("for keys that are busy", func() {
		var gate string
		key := func(i int) string { return fmt.Sprint("k", i) }

		BeforeEach(func() {
			gate = filepath.Join(GinkgoT().TempDir(), "gate")
			trigger("first", func(m manifest, i int) manifest {
				return run(m.obj.Name, "until [ -e "+gate+" ]; do sleep 0.1; done").key(key(i))
			})
			inPhase("first", "Leased")
			trigger("next", func(m manifest, i int) manifest { return m.key(key(i)) })
			inPhase("next", "Pending")
		})
		openGate := func() { Expect(os.WriteFile(gate, nil, 0o600)).To(Succeed()) }

		It("is 1 status more and 1 RunKey less for a run that waits, and none for a trigger that is refused", func() {
			before := versions()
			for i := range several {
				m := run("refused", quick).key(key(i))
				Expect(tryApply(m).Code).To(Equal(1))
				Expect(tryWith(asYAML(m.skip()), "apply", "--dry-run=server", "-f", "-").Code).To(BeZero())
			}
			Expect(versions()).To(Equal(before))
			openGate()
			settle()
			Expect(runs("first-")).To(Equal(controlplane.Writes{Puts: 3 * several}))
			Expect(runs("next-")).To(Equal(controlplane.Writes{Puts: 4 * several}))
			Expect(runs("refused").Total()).To(BeZero())
			Expect(runKeys()).To(Equal(controlplane.Writes{Puts: 4 * several, Deletes: several}))
		})

		It("is 4 writes for a receipt that is deleted, and 1 for the run that counts many", func() {
			const many = v1alpha1.MaxRecent
			// While nobody reconciles the key, triggers are answered but not counted.
			giveBack := withhold(membership.Home{Namespace: ns, Name: v1alpha1.ConcurrencyKeyName(job, key(0))})
			for i := range many {
				receipt := run(fmt.Sprint("receipt-", i), quick).key(key(0)).skip().in(ns)
				Expect(k8s.Create(ctx, receipt.obj)).To(Succeed())
			}
			Expect(names("jobruns", "--field-selector=status.phase=Coalesced")).To(BeEmpty(), "a manager reconciles the key")
			giveBack()
			wait("receipt-0", "Coalesced")
			openGate()
			settle()
			kubectl("delete", "jobruns", "--selector=batch.jobrun.dev/disposition=coalesced")

			Expect(runs("first-")).To(Equal(controlplane.Writes{Puts: 3 * several}))
			Expect(runs("next-")).To(Equal(controlplane.Writes{Puts: 4*several + 1}))
			Expect(runs("receipt-")).To(Equal(controlplane.Writes{Puts: 3 * many, Deletes: many}))
			Expect(runKeys()).To(Equal(controlplane.Writes{Puts: 4 * several, Deletes: several}))
		})
	})
})

// concurrencyKeys returns the RunKeys of busy concurrency keys.
func concurrencyKeys() []string {
	GinkgoHelper()
	return slices.DeleteFunc(takenKeys(), func(name string) bool { return name[0] != 'c' })
}

// takenKeys returns the RunKeys whose keys are not free. A row that only notes Jobs that may still appear is left out.
func takenKeys() []string {
	GinkgoHelper()
	fields := `{.metadata.name}{"\t"}{.spec.pending}{.spec.line}{.spec.leased}{.spec.owner}{"\n"}`
	var taken []string
	for row := range strings.Lines(kubectl("get", "runkeys", "-o", "jsonpath={range .items[*]}"+fields+"{end}")) {
		if name, named, _ := strings.Cut(row, "\t"); strings.TrimSpace(named) != "" {
			taken = append(taken, name)
		}
	}
	return taken
}
