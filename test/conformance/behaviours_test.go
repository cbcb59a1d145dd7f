// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// surfaces has all surfaces, by name.
var surfaces = map[string]func(api client.WithWatch, namespace string) surface{
	"the API":       func(api client.WithWatch, namespace string) surface { return raw{api, namespace} },
	"the Go client": newGoClient,
}

var _ = Describe("Runs with a key, through", func() {
	for name, open := range surfaces {
		Describe(name, func() {
			for _, b := range behaviours {
				It(b.name, func() { b.check(surfaceOf{open(k8s, ns)}) })
			}
			It("each namespace has its own keys", func() {
				surfaceOf{open(k8s, ns)}.created(request{name: "a", key: "k"})
				surfaceOf{open(k8s, newNamespace())}.created(request{name: "a", key: "k"})
			})
		})
	}
})

// surfaceOf adds the expectations of behaviours to a surface.
type surfaceOf struct{ surface }

// created sends a trigger that must become a run.
func (s surfaceOf) created(r request) {
	GinkgoHelper()
	s.answered(r, v1alpha1.DispositionCreated, r.name)
}

func (s surfaceOf) absorbed(r request, by string) {
	GinkgoHelper()
	s.answered(r, v1alpha1.DispositionCoalesced, by)
}

func (s surfaceOf) answered(r request, disposition v1alpha1.Disposition, run string) {
	GinkgoHelper()
	a, refused := s.trigger(r)
	Expect(refused).To(BeNil(), "%s", refused)
	Expect(a).To(Equal(answer{r.name, disposition, run}))
}

// conflicts sends a trigger that must be refused because of a pending run.
func (s surfaceOf) conflicts(r request, pending string) {
	GinkgoHelper()
	_, refused := s.trigger(r)
	expectConflict(refused, pending)
	Expect(runs()).NotTo(ContainElement(HaveField("Name", r.name)))
}

func expectConflict(refused *refusal, pending string) {
	GinkgoHelper()
	Expect(refused).NotTo(BeNil())
	Expect(refused.conflict).To(BeTrue(), "%s", refused)
	Expect(refused.pending).To(Equal(pending))
}

// invalid sends a trigger that must be refused because of these fields, and must take no key.
func (s surfaceOf) invalid(r request, fields ...string) {
	GinkgoHelper()
	_, refused := s.trigger(r)
	expectInvalid(refused, fields...)
	Expect(runs()).To(BeEmpty())
	Expect(keys()).To(BeEmpty())
}

func expectInvalid(refused *refusal, fields ...string) {
	GinkgoHelper()
	Expect(refused).NotTo(BeNil())
	Expect(refused.conflict).To(BeFalse(), "%s", refused)
	Expect(refused.fields).To(ContainElements(fields), "%s", refused)
}

// executes triggers a run that executes until it is cancelled.
func (s surfaceOf) executes(r request) {
	GinkgoHelper()
	r.script = busy
	s.created(r)
	wait(r.name, v1alpha1.PhaseLeased)
}

// behaviour must hold for every surface.
type behaviour struct {
	name  string
	check func(surfaceOf)
}

var behaviours = []behaviour{
	{"the first pending run is created", func(s surfaceOf) {
		s.created(request{name: "a", key: "k"})
		wait("a", v1alpha1.PhasePending)
	}},
	{"the second is refused, and the answer names the run that waits", func(s surfaceOf) {
		s.created(request{name: "a", key: "k"})
		s.conflicts(request{name: "b", key: "k"}, "a")
	}},
	{"with Skip it coalesces, and the answer names the run that absorbed it", func(s surfaceOf) {
		s.created(request{name: "a", key: "k"})
		s.absorbed(request{name: "b", key: "k", skip: true}, "a")
		Expect(wait("b", v1alpha1.PhaseCoalesced).Status.RunRef.Name).To(Equal("a"))
		Eventually(func() *v1alpha1.CoalescedTriggers { return get("a").Status.Coalesced }).Should(HaveValue(HaveField("Count", BeEquivalentTo(1))))
	}},
	{"a new one may wait once the first is leased", func(s surfaceOf) {
		s.executes(request{name: "a", key: "k"})
		s.created(request{name: "b", key: "k"})
		wait("b", v1alpha1.PhasePending)
		Consistently(func() v1alpha1.Phase { return get("b").Status.Phase }).Should(Equal(v1alpha1.PhasePending))
	}},
	{"a third is refused while one runs and one waits", func(s surfaceOf) {
		s.executes(request{name: "a", key: "k"})
		s.created(request{name: "b", key: "k"})
		s.conflicts(request{name: "c", key: "k"}, "b")
		s.absorbed(request{name: "d", key: "k", skip: true}, "b")
	}},
	{"keys are independent", func(s surfaceOf) {
		s.created(request{name: "a", key: "k"})
		s.created(request{name: "b", key: "l"})
	}},
	{"each job has its own keys", func(s surfaceOf) {
		s.created(request{name: "a", key: "k"})
		s.created(request{name: "b", key: "k", job: "another"})
		s.conflicts(request{name: "c", key: "k", job: "another"}, "b")
	}},
	{"without a key there is no limit", func(s surfaceOf) {
		for i := range 5 {
			s.created(request{name: fmt.Sprintf("a-%d", i)})
		}
		Expect(keys()).To(BeEmpty())
	}},
	{"a coalesced trigger does not change the run's input and labels", func(s surfaceOf) {
		s.created(request{name: "a", key: "k", input: `{"n":1}`, labels: map[string]string{"env": "prod"}})
		before := get("a")
		s.absorbed(request{name: "b", key: "k", skip: true, input: `{"n":2}`, labels: map[string]string{"env": "test"}}, "a")
		wait("b", v1alpha1.PhaseCoalesced)
		Expect(get("a").Spec).To(Equal(before.Spec))
		Expect(get("a").Labels).To(Equal(before.Labels))
	}},
	{"coalesce without a key is refused", func(s surfaceOf) {
		s.invalid(request{name: "a", skip: true}, "spec.coalesce")
	}},
	{"an unknown coalesce is refused", func(s surfaceOf) {
		s.invalid(request{name: "a", key: "k", coalesce: "Replace"}, "spec.coalesce")
	}},
	{"an unknown coalesce inside a batch is refused, and nothing of the batch executes", func(s surfaceOf) {
		_, refused := s.triggerAll(request{name: "a", key: "k", script: busy}, request{name: "b", key: "l", coalesce: "Replace"})
		expectInvalid(refused, "spec.coalesce")
		expectNothingLeft()
	}},
	{"Idempotent takes precedence over Coalesced, and Coalesced over a conflict", func(s surfaceOf) {
		s.created(request{name: "a", key: "k", idempotency: "i"})
		s.answered(request{name: "b", key: "k", idempotency: "i", skip: true}, v1alpha1.DispositionIdempotent, "a")
		s.answered(request{name: "c", key: "k", idempotency: "i"}, v1alpha1.DispositionIdempotent, "a")
		s.absorbed(request{name: "d", key: "k", idempotency: "j", skip: true}, "a")
		s.conflicts(request{name: "e", key: "k", idempotency: "l"}, "a")
	}},
	{"a second delivery emits no event", func(s surfaceOf) {
		s.created(request{name: "a", key: "k", idempotency: "i"})
		s.answered(request{name: "b", key: "k", idempotency: "i"}, v1alpha1.DispositionIdempotent, "a")
		wait("b", v1alpha1.PhaseIdempotent)
		Eventually(func() int { return s.triggered("a") }).Should(Equal(1))
		Consistently(func() []int { return []int{s.triggered("a"), s.triggered("b"), len(s.skipped("a"))} }).Should(Equal([]int{1, 0, 0}))
	}},
	{"a coalesced trigger emits one event with its input and labels", func(s surfaceOf) {
		s.created(request{name: "a", key: "k"})
		wait("a", v1alpha1.PhasePending)
		s.absorbed(request{name: "b", key: "k", skip: true, input: `{"n":2}`, labels: map[string]string{"env": "test"}}, "a")
		want := []skippedTrigger{{"b", `{"n":2}`, map[string]string{"env": "test"}}}
		Eventually(func() []skippedTrigger { return s.skipped("a") }).Should(Equal(want))
		Consistently(func() []skippedTrigger { return s.skipped("a") }).Should(Equal(want))
	}},
	{"a coalesced trigger without input and labels emits one event", func(s surfaceOf) {
		s.created(request{name: "a", key: "k"})
		s.absorbed(request{name: "b", key: "k", skip: true}, "a")
		Eventually(func() []skippedTrigger { return s.skipped("a") }).Should(ConsistOf(
			And(HaveField("Receipt", "b"), HaveField("Input", BeElementOf("", "null")), HaveField("Labels", BeEmpty()))))
	}},
	{"a batch coalesces within itself, in order", func(s surfaceOf) {
		answers, refused := s.triggerAll(
			request{name: "a", key: "k", script: output("1")},
			request{name: "b", key: "k", skip: true},
			request{name: "c", key: "k", skip: true})
		Expect(refused).To(BeNil(), "%s", refused)
		Expect(answers).To(Equal([]answer{
			{"a", v1alpha1.DispositionCreated, "a"},
			{"b", v1alpha1.DispositionCoalesced, "a"},
			{"c", v1alpha1.DispositionCoalesced, "a"},
		}))
		for _, name := range []string{"a", "b", "c"} {
			Expect(s.outcome(name)).To(And(HaveField("Phase", "Complete"), HaveField("Run", "a"), HaveField("Output", "1")))
		}
		Expect(jobs()).To(HaveLen(1))
	}},
	{"a conflict inside a batch withdraws the batch", func(s surfaceOf) {
		s.created(request{name: "x", key: "taken"})
		_, refused := s.triggerAll(request{name: "a", key: "k", script: busy}, request{name: "b", script: busy}, request{name: "c", key: "taken"})
		expectConflict(refused, "x")
		expectNothingLeft("x")
		s.created(request{name: "y", key: "k"})
	}},
	{"a batch may mix all dispositions", func(s surfaceOf) {
		s.created(request{name: "x", key: "taken", idempotency: "i"})
		answers, refused := s.triggerAll(
			request{name: "a", script: output("1")},
			request{name: "b", key: "taken", skip: true},
			request{name: "c", idempotency: "i"},
			request{name: "d", key: "k", script: output("2")})
		Expect(refused).To(BeNil(), "%s", refused)
		Expect(answers).To(Equal([]answer{
			{"a", v1alpha1.DispositionCreated, "a"},
			{"b", v1alpha1.DispositionCoalesced, "x"},
			{"c", v1alpha1.DispositionIdempotent, "x"},
			{"d", v1alpha1.DispositionCreated, "d"},
		}))
		Expect(s.outcome("a").Output).To(Equal("1"))
		Expect(s.outcome("d").Output).To(Equal("2"))
		wait("b", v1alpha1.PhaseCoalesced)
		wait("c", v1alpha1.PhaseIdempotent)
	}},
	{"a wait returns the disposition of the trigger and the output of the run that stands for it", func(s surfaceOf) {
		s.executes(request{name: "x", key: "k"})
		s.created(request{name: "a", key: "k", idempotency: "i", script: output(`{"n":42}`)})
		s.absorbed(request{name: "b", key: "k", skip: true}, "a")
		s.answered(request{name: "c", idempotency: "i"}, v1alpha1.DispositionIdempotent, "a")
		s.cancel("x")
		for name, disposition := range map[string]v1alpha1.Disposition{
			"a": v1alpha1.DispositionCreated, "b": v1alpha1.DispositionCoalesced, "c": v1alpha1.DispositionIdempotent,
		} {
			o := s.outcome(name)
			Expect(o.Phase).To(Equal("Complete"), "%+v", o)
			Expect(o.Disposition).To(Equal(disposition))
			Expect(o.Run).To(Equal("a"))
			Expect(o.Output).To(MatchJSON(`{"n":42}`))
		}
		Expect(s.outcome("x").Phase).To(Equal("Cancelled"))
	}},
	{"a failed run and its receipts have the reason of the failure", func(s surfaceOf) {
		s.executes(request{name: "x", key: "k"})
		s.created(request{name: "a", key: "k", script: "exit 3"})
		s.absorbed(request{name: "b", key: "k", skip: true}, "a")
		s.cancel("x")
		for _, name := range []string{"a", "b"} {
			Expect(s.outcome(name)).To(And(HaveField("Phase", "Failed"), HaveField("Message", ContainSubstring("BackoffLimitExceeded"))))
		}
	}},
	{"an expired lease with a replacement fails", func(s surfaceOf) {
		s.executes(request{name: "a", key: "k"})
		s.created(request{name: "b", key: "k"})
		wait("b", v1alpha1.PhasePending)
		loseJob(get("a"))
		o := s.outcome("a")
		Expect(o.Phase).To(Equal("Failed"))
		Expect(o.Message).To(ContainSubstring("Lease expired; pending run b already exists"))
		Expect(get("a").Status.Attempts).To(BeEquivalentTo(1))
	}},
	{"an expired lease without a replacement goes back to wait, and is counted once", func(s surfaceOf) {
		const many = 5
		for i := range many {
			s.executes(request{name: fmt.Sprintf("a-%d", i), key: fmt.Sprintf("k-%d", i)})
		}
		for i := range many {
			loseJob(get(fmt.Sprintf("a-%d", i)))
		}
		for i := range many {
			name := fmt.Sprintf("a-%d", i)
			Eventually(func() *v1alpha1.RunLease { return get(name).Status.Lease }).Should(HaveValue(And(
				HaveField("Generation", BeEquivalentTo(3)), HaveField("HolderIdentity", Not(BeEmpty())))))
			Expect(wait(name, v1alpha1.PhaseLeased).Status.Attempts).To(BeEquivalentTo(1))
		}
		Consistently(func() bool {
			for i := range many {
				if get(fmt.Sprintf("a-%d", i)).Status.Attempts != 1 {
					return false
				}
			}
			return true
		}).Should(BeTrue())
	}},
	{"triggering a run again is a conflict while a run waits", func(s surfaceOf) {
		s.created(request{name: "a", key: "k", idempotency: "i"})
		_, refused := s.retrigger("a")
		expectConflict(refused, "a")
		s.cancel("a")
		Expect(s.outcome("a").Phase).To(Equal("Cancelled"))
		again, refused := s.retrigger("a")
		Expect(refused).To(BeNil(), "%s", refused)
		Expect(again.disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(get(again.name).Spec.IdempotencyKey).To(BeEmpty())
	}},
	{"invalid labels are refused before a key is taken", func(s surfaceOf) {
		s.invalid(request{name: "a", key: "k", idempotency: "i", labels: map[string]string{"env": "not a label!"}}, "metadata.labels")
	}},
}

// expectNothingLeft expects that all runs except the named ones are cancelled without ever having been leased, that
// there are no Jobs, and that only the named runs hold keys.
func expectNothingLeft(but ...string) {
	GinkgoHelper()
	for _, run := range runs() {
		if slices.Contains(but, run.Name) {
			continue
		}
		Expect(wait(run.Name, v1alpha1.PhaseCancelled).Status.Lease).To(BeNil())
	}
	Expect(jobs()).To(BeEmpty())
	Eventually(keys).Should(HaveLen(len(but)))
}
