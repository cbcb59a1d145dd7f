// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

const (
	chaosTriggers = 150
	chaosKeys     = 3
	chaosCallers  = 4
)

// callOff triggers, cancels and deletes at random. It ignores errors.
func callOff(random *rand.Rand, caller int) {
	for i := range chaosTriggers / chaosCallers {
		b := makeRun(fmt.Sprintf("r-%d-%d", caller, i)).key(fmt.Sprintf("k%d", random.Intn(chaosKeys)))
		if random.Intn(5) > 0 {
			b = b.skip()
		}
		if random.Intn(4) == 0 {
			b = b.delivery(fmt.Sprintf("d%d", random.Intn(10)))
		}
		if _, _, err := trigger(b); err != nil && !apierrors.IsConflict(err) {
			GinkgoWriter.Println(b.obj.Name, err)
		}
		earlier := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: fmt.Sprintf("r-%d-%d", random.Intn(chaosCallers), random.Intn(i+1)),
		}}
		switch random.Intn(12) {
		case 0:
			_ = k8s.Patch(ctx, earlier, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"cancel":true}}`)))
		case 1:
			_ = k8s.Delete(ctx, earlier, client.PropagationPolicy(metav1.DeletePropagationBackground))
		}
	}
}

// executeAll plays the Job controller and the garbage collector for the namespace. Some Jobs fail or vanish.
func executeAll(until context.Context, random *rand.Rand) {
	for until.Err() == nil {
		var all batchv1.JobList
		_ = k8s.List(until, &all, client.InNamespace(ns))
		for i := range all.Items {
			j := &all.Items[i]
			switch {
			case j.DeletionTimestamp != nil:
				j.Finalizers = nil
				_ = k8s.Update(until, j)
			case len(j.Status.Conditions) > 0 || random.Intn(3) > 0:
			case random.Intn(8) == 0:
				_ = k8s.Delete(until, j, client.PropagationPolicy(metav1.DeletePropagationBackground))
			case random.Intn(5) == 0:
				setEnd(j, batchv1.JobFailureTarget, batchv1.JobFailed, "BackoffLimitExceeded", "chaos")
				_ = k8s.Status().Update(until, j)
			default:
				setEnd(j, batchv1.JobSuccessCriteriaMet, batchv1.JobComplete, "CompletionsReached", "chaos")
				_ = k8s.Status().Update(until, j)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// chaos runs callers and an executor, and waits until every run has its outcome.
func chaos(meanwhile func()) {
	GinkgoHelper()
	until, stop := context.WithCancel(ctx)
	var executor, callers sync.WaitGroup
	executor.Go(func() { executeAll(until, rand.New(rand.NewSource(GinkgoRandomSeed()))) })
	for caller := range chaosCallers {
		callers.Go(func() { callOff(rand.New(rand.NewSource(GinkgoRandomSeed()+int64(caller))), caller) })
	}
	meanwhile()
	callers.Wait()
	defer executor.Wait()
	defer stop()
	Eventually(func() []string {
		var open []string
		for _, run := range runs() {
			if !hasOutcome(&run) {
				open = append(open, fmt.Sprintf("%s of %s: %+v", run.Name, run.Spec.ConcurrencyKey, run.Status))
			}
		}
		return open
	}).WithTimeout(2 * patience).Should(BeEmpty())
}

func hasOutcome(run *v1alpha1.JobRun) bool {
	return slices.ContainsFunc([]string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionCancelled},
		func(kind string) bool { return meta.IsStatusConditionTrue(run.Status.Conditions, kind) })
}

// expectNothingLost expects that a receipt's run started after the receipt was accepted, and that a run counts each of
// its receipts once.
func expectNothingLost() {
	GinkgoHelper()
	byUID := map[types.UID]*v1alpha1.JobRun{}
	all := runs()
	for i := range all {
		byUID[all[i].UID] = &all[i]
	}
	for _, receipt := range all {
		if receipt.Status.Phase != v1alpha1.PhaseCoalesced {
			continue
		}
		if run := byUID[receipt.Status.RunRef.UID]; run != nil && run.Status.StartTime != nil {
			Expect(runkey.StartedAfter(run.Status.Lease.KeyVersion, receipt.Spec.Admission.KeyVersion)).
				To(BeTrue(), "%s started before its receipt %s was accepted", run.Name, receipt.Name)
		}
	}
	for i := range all {
		var count int64
		if c := all[i].Status.Coalesced; c != nil {
			count = c.Count
		}
		Eventually(func() int { return absorbedBy(&all[i]).Len() }).WithTimeout(steady).
			Should(BeEquivalentTo(count), "receipts of %s", all[i].Name)
	}
}

var _ = Describe("Chaos", func() {
	everythingEnds := func() {
		GinkgoHelper()
		expectNothingLost()
		Expect(k8s.DeleteAllOf(ctx, &v1alpha1.JobRun{}, client.InNamespace(ns))).To(Succeed())
		Eventually(keys).Should(BeEmpty())
	}

	It("loses no trigger", func() {
		chaos(func() {})
		everythingEnds()
	})

	// A new controller has not seen the earlier deletions, so it waits for the deleted runs until the grace is over.
	restarted := production()
	restarted.IdempotencyGrace = 20 * time.Second

	It("loses no trigger when the controller is restarted again and again", func() {
		chaos(func() {
			for range 5 {
				time.Sleep(time.Second)
				useControllers(restarted)
			}
		})
		everythingEnds()
	})

	It("loses no trigger when two controllers act at the same time", func() {
		seen.tolerate(ns)
		useControllers(production(), production())
		chaos(func() {})
		everythingEnds()
	})
})
