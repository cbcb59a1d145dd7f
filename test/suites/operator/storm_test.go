// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// told is the answer to a trigger.
type told struct {
	key         string
	disposition v1alpha1.Disposition // empty for a conflict
	run         string
}

// storm sends all triggers at the same time and returns the answers.
func storm(triggers []builder) []told {
	GinkgoHelper()
	answers := make([]told, len(triggers))
	var all sync.WaitGroup
	start := make(chan struct{})
	for i, b := range triggers {
		all.Go(func() {
			defer GinkgoRecover()
			<-start
			run, texts, err := insist(b)
			answers[i].key = b.obj.Spec.ConcurrencyKey
			if apierrors.IsConflict(err) {
				answers[i].run = refusal(err).Details.Causes[0].Message
				return
			}
			Expect(err).NotTo(HaveOccurred())
			answers[i].disposition, answers[i].run = run.Spec.Admission.Disposition, run.Spec.Admission.RunName
			if answers[i].disposition != v1alpha1.DispositionCreated {
				Expect(texts).To(ConsistOf(ContainSubstring("run " + answers[i].run + " ")))
			}
		})
	}
	close(start)
	all.Wait()
	return answers
}

// insist triggers again while the API server is too busy to answer, as a caller would.
func insist(b builder) (*v1alpha1.JobRun, []string, error) {
	for deadline := time.Now().Add(patience); ; {
		run, texts, err := trigger(builder{b.obj.DeepCopy()})
		unanswered := apierrors.IsInternalError(err) || apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err)
		if !unanswered || time.Now().After(deadline) {
			return run, texts, err
		}
	}
}

// number counts the answers of a key by disposition.
func number(answers []told, key string, disposition v1alpha1.Disposition) int {
	n := 0
	for _, a := range answers {
		if a.key == key && a.disposition == disposition {
			n++
		}
	}
	return n
}

var _ = Describe("A storm of triggers on three replicas", func() {
	fiveKeys := []string{"k0", "k1", "k2", "k3", "k4"}

	It("makes one run per key, and every answer names it", func() {
		before := make([]int64, len(replicas))
		for i, r := range replicas {
			before[i] = r.connections.Load()
		}
		joined := counts("jobrun_runkey_shared_reads_total", "shared")
		var triggers []builder
		for i := range 110 {
			for _, key := range fiveKeys {
				b := makeWorkerRun(fmt.Sprintf("%s-%d", key, i)).key(key)
				if i%10 != 0 { // the others have no coalesce
					b = b.skip()
				}
				triggers = append(triggers, b)
			}
		}
		answers := storm(triggers)

		for _, key := range fiveKeys {
			Expect(number(answers, key, v1alpha1.DispositionCreated)).To(Equal(1))
			row := keyOf(key)
			Expect(row.Leased).To(BeNil())
			for _, a := range answers {
				if a.key == key {
					Expect(a.run).To(Equal(row.Pending.RunName))
				}
			}
			Eventually(get(row.Pending.RunName)).Should(haveAbsorbed(number(answers, key, v1alpha1.DispositionCoalesced)))
		}
		Expect(joined()).To(BeNumerically(">", 0))
		for i, r := range replicas {
			Expect(r.connections.Load()).To(BeNumerically(">", before[i]), "replica %d", i)
		}
		Consistently(absorbedInAll).Should(BeEquivalentTo(len(runs()) - len(fiveKeys)))
	})

	It("makes one run that executes and one that waits, even while runs start", func() {
		var triggers []builder
		for i := range 30 {
			for _, key := range fiveKeys {
				triggers = append(triggers, makeRun(fmt.Sprintf("%s-%d", key, i)).key(key).skip())
			}
		}
		answers := storm(triggers)

		receipts := len(triggers)
		for _, key := range fiveKeys {
			n := number(answers, key, v1alpha1.DispositionCreated)
			Expect(n).To(BeElementOf(1, 2))
			receipts -= n
		}
		Eventually(absorbedInAll).Should(BeEquivalentTo(receipts))
		Eventually(jobs).Should(HaveLen(len(fiveKeys)))
	})
})

// absorbedInAll returns the sum of status.coalesced.count of all runs.
func absorbedInAll() int64 {
	GinkgoHelper()
	var sum int64
	for _, run := range runs() {
		if run.Status.Coalesced != nil {
			sum += run.Status.Coalesced.Count
		}
	}
	return sum
}
