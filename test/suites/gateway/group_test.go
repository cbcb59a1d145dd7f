// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway"
)

// atOnce sends n triggers of the key k at once, each with its own input, and returns their answers.
func atOnce(n int) []gateway.TriggerAnswer {
	GinkgoHelper()
	answers := make([]gateway.TriggerAnswer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			defer GinkgoRecover()
			got := gate.send(editor, "POST", runs, fmt.Sprintf(`{"concurrencyKey":"k","coalesce":"Skip","input":{"number":%d}}`, i))
			Expect(got.code).To(Or(Equal(200), Equal(201)), got.body)
			answers[i] = decode[gateway.TriggerAnswer](got)
		})
	}
	all.Wait()
	return answers
}

// comeAndGo completes each run of the spec that waits, one after the other, until stop is called.
func comeAndGo() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer GinkgoRecover()
		defer close(ended)
		for {
			for _, run := range jobRuns() {
				if run.Status.Phase == v1alpha1.PhasePending {
					complete(run.Name, "1")
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// counted returns how many triggers the runs of the spec stand for.
func counted() int64 {
	var all int64
	for _, run := range jobRuns() {
		if run.Status.Phase == v1alpha1.PhaseCoalesced {
			continue
		}
		if all++; run.Status.Coalesced != nil {
			all += run.Status.Coalesced.Count
		}
	}
	return all
}

var _ = Describe("many triggers of one key", func() {
	It("share JobRuns, and each is counted once", func() {
		const triggers = 64
		first := waiting()
		represented, shared := map[string]int64{}, ""
		for _, answer := range atOnce(triggers) {
			Expect(answer.Disposition).To(Equal(v1alpha1.DispositionCoalesced))
			Expect(answer.Run).To(Equal(first))
			represented[answer.Trigger]++
		}
		for name, callers := range represented {
			receipt := stored(name)
			Expect(receipt.Represented()).To(Equal(callers), "receipt %s", name)
			if callers > 1 {
				shared = name
				Expect(receipt.Spec.Represents.Recent).To(HaveLen(min(int(callers)-1, v1alpha1.MaxRepresentedRecent)))
				Expect(receipt.Spec.Represents.Recent[0].User).To(Equal("system:serviceaccount:" + ns + ":editor"))
			}
		}
		Expect(shared).NotTo(BeEmpty(), "no two triggers met")
		Expect(jobRuns()).To(HaveLen(1 + len(represented)))
		Eventually(func() int64 {
			if coalesced := stored(first).Status.Coalesced; coalesced != nil {
				return coalesced.Count
			}
			return 0
		}).Should(BeEquivalentTo(triggers))

		By("cancelling one of them")
		status := refused(gate.send(editor, "POST", "/v1/namespaces/NS/runs/"+shared+"/cancel", ""), 409)
		Expect(status.Details.Causes).To(ContainElement(HaveField("Type", v1alpha1.CauseRepresents)))
	})

	It("are all counted while their runs come and go", func() {
		stop := comeAndGo()
		triggers := 0
		for range 10 {
			triggers += len(atOnce(32))
		}
		stop()
		Eventually(counted).Should(BeEquivalentTo(triggers))
		Consistently(func() int {
			groups := 0
			for _, run := range jobRuns() {
				groups += min(int(run.Represented()-1), 1)
			}
			return groups
		}, "1s").Should(BeNumerically(">", 0))
	})

	It("of a defined job are completed before they share a JobRun", func() {
		definition := &v1alpha1.JobDefinition{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: job},
			Spec: v1alpha1.JobDefinitionSpec{InputSchema: &v1alpha1.InputSchema{OpenAPIV3Schema: &apiextensionsv1.JSON{Raw: []byte(
				`{"type":"object","required":["number"],"properties":{"number":{"type":"integer","maximum":40},"full":{"type":"boolean","default":false}}}`)}},
				Overridable: []v1alpha1.OverridableField{v1alpha1.OverridableConcurrencyKey, v1alpha1.OverridableCoalesce}},
		}
		Expect(k8s.Create(ctx, definition)).To(Succeed())
		Eventually(func() string {
			return gate.send(editor, "POST", runs, `{"concurrencyKey":"k","coalesce":"Skip","input":{"number":0}}`).body
		}).Should(ContainSubstring(`"Coalesced"`))
		// If the first one of many is not valid, the others are sent alone. So it may take some rounds until two of them meet.
		inputs := 0
		for round := 0; round < 20 && inputs == 0; round++ {
			manyNumbers()
			for _, run := range jobRuns() {
				if run.Spec.Represents == nil {
					continue
				}
				for _, entry := range run.Spec.Represents.Recent {
					inputs++
					Expect(string(entry.Input.Raw)).To(ContainSubstring(`"full":false`))
				}
			}
		}
		Expect(inputs).To(BeNumerically(">", 0), "no two triggers met")
	})

	It("share JobRuns if the definition gives them the key", func() {
		definition := &v1alpha1.JobDefinition{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: job},
			Spec: v1alpha1.JobDefinitionSpec{
				InputSchema: &v1alpha1.InputSchema{OpenAPIV3Schema: &apiextensionsv1.JSON{Raw: []byte(
					`{"type":"object","required":["org"],"properties":{"org":{"type":"string","maxLength":40}}}`)}},
				ConcurrencyKeyExpression: "input.org",
				Defaults:                 &v1alpha1.JobRunDefaults{Coalesce: v1alpha1.CoalesceSkip},
			},
		}
		Expect(k8s.Create(ctx, definition)).To(Succeed())
		triggers, shared := 0, 0
		Eventually(func() string {
			triggers++
			return gate.send(editor, "POST", runs, `{"input":{"org":"a"}}`).body
		}).Should(ContainSubstring(`"Coalesced"`))
		// The webhook may have seen the first trigger before it saw the definition. Then the gateway believes for a while that there is none.
		Eventually(func() int {
			triggers += ofTwoOrgs()
			for _, run := range jobRuns() {
				if run.Spec.Represents == nil {
					continue
				}
				shared++
				for _, input := range append(recentInputs(&run), string(run.Spec.Input.Raw)) {
					Expect(input).To(Equal(fmt.Sprintf(`{"org":%q}`, run.Spec.ConcurrencyKey)))
				}
			}
			return shared
		}, "1m").Should(BeNumerically(">", 0), "no two triggers met")
		Eventually(counted).Should(BeEquivalentTo(triggers))
	})
})

// recentInputs returns the inputs of the triggers for which a JobRun stands, but for the first one.
func recentInputs(run *v1alpha1.JobRun) (inputs []string) {
	for _, entry := range run.Spec.Represents.Recent {
		inputs = append(inputs, string(entry.Input.Raw))
	}
	return inputs
}

// ofTwoOrgs sends triggers without a key at once, of two orgs in turn, and returns how many.
func ofTwoOrgs() (triggers int) {
	GinkgoHelper()
	const each = 32
	var all sync.WaitGroup
	for range each {
		for _, org := range []string{"a", "b"} {
			all.Go(func() {
				defer GinkgoRecover()
				got := gate.send(editor, "POST", runs, fmt.Sprintf(`{"input":{"org":%q}}`, org))
				Expect(got.code).To(Or(Equal(200), Equal(201)), got.body)
			})
		}
	}
	all.Wait()
	return 2 * each
}

// manyNumbers sends 64 triggers of the key k at once. Those with a number above 40 are refused, each alone.
func manyNumbers() {
	GinkgoHelper()
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			defer GinkgoRecover()
			got := gate.send(editor, "POST", runs, fmt.Sprintf(`{"concurrencyKey":"k","coalesce":"Skip","input":{"number":%d}}`, i))
			if i <= 40 {
				Expect(got.code).To(Equal(200), got.body)
				return
			}
			Expect(refused(got, 422).Message).To(ContainSubstring("spec.input.number"))
		})
	}
	all.Wait()
}
