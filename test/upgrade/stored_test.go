// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"
	"os/exec"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	jobruns "github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// oldObjects are JobRuns that the older version stores and that break a rule of this version. No worker executes them until
// expectOutcomes.
type oldObjects struct {
	namespace string
	// fields are the fields that a newer rule is about, by the name of the JobRun.
	fields map[string]string
	// gate is the file for which the run with a Job waits.
	gate string
}

const hugeOutput = 300 << 10 // A worker's output has at most 256 KiB now.

func createOldObjects() *oldObjects {
	GinkgoHelper()
	o := &oldObjects{namespace: newNamespace(), fields: map[string]string{}, gate: GinkgoT().TempDir() + "/gate"}
	o.create("spec.concurrencyKey", makeRun(o.namespace, "key", key("tab\there"), steps(1)))
	o.awaitPhase("key", v1alpha1.PhasePending)
	o.create("spec.concurrencyKey", makeRun(o.namespace, "receipt", key("tab\there"), skip))
	o.create("spec.concurrencyKey", makeRun(o.namespace, "cancelled", key("cancelled\there")))
	o.create("spec.concurrencyKey", makeRun(o.namespace, "deleted", key("deleted\there")))
	o.create("spec.idempotencyKey", makeRun(o.namespace, "delivery", delivery("once\tonly"), steps(1)))
	o.create("spec.batch.id", makeRun(o.namespace, "batch", steps(1), func(s *v1alpha1.JobRunSpec) {
		s.Batch = &v1alpha1.BatchMember{ID: "tab\there", Size: 1, Leader: "batch"}
	}))
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	o.create("spec.input", makeRun(o.namespace, "levels", input(`{"steps": 1, "deep": `+deep+"}")))
	labelled := makeRun(o.namespace, "labels", steps(1))
	labelled.Labels = map[string]string{}
	for i := range 300 {
		labelled.Labels[fmt.Sprint("label-", i)] = strings.Repeat("x", 60)
	}
	o.create("metadata.labels", labelled)
	waits := inline("until test -e " + o.gate + "; do sleep 0.2; done")
	o.create("spec.concurrencyKey", makeRun(o.namespace, "job", key("job\there"), waits))
	o.awaitPhase("job", v1alpha1.PhaseLeased)
	o.create("spec.concurrencyKey", makeRun(o.namespace, "job-next", key("job\there"), inline("true")))
	o.awaitPhase("job-next", v1alpha1.PhasePending)
	o.complete(makeRun(o.namespace, "output"))
	return o
}

// create stores a JobRun that breaks a newer rule about a field.
func (o *oldObjects) create(field string, run *v1alpha1.JobRun) {
	GinkgoHelper()
	Expect(k8s.Create(ctx, run)).To(Succeed())
	o.fields[run.Name] = field
}

func (o *oldObjects) awaitPhase(name string, phase v1alpha1.Phase) {
	GinkgoHelper()
	Eventually(get(o.namespace, name)).Should(inPhase(phase))
}

// complete stores a JobRun, and ends it as a worker, with an output that is larger than it may be now.
func (o *oldObjects) complete(run *v1alpha1.JobRun) {
	GinkgoHelper()
	Expect(k8s.Create(ctx, run)).To(Succeed())
	o.awaitPhase(run.Name, v1alpha1.PhasePending)
	run, err := get(o.namespace, run.Name)()
	Expect(err).NotTo(HaveOccurred())
	now := metav1.NowMicro()
	run.Status.Phase = v1alpha1.PhaseLeased
	run.Status.Lease = &v1alpha1.RunLease{
		HolderIdentity: "by-hand", Generation: 1, AcquireTime: &now, RenewTime: &now, DurationSeconds: 3600,
	}
	Expect(k8s.Status().Update(ctx, run)).To(Succeed())
	Eventually(func() error {
		run, err := get(o.namespace, run.Name)()
		Expect(err).NotTo(HaveOccurred())
		run.Status.Phase, run.Status.FinishedGeneration = v1alpha1.PhaseCompleted, 1
		run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(`"` + strings.Repeat("x", hugeOutput) + `"`)}
		return k8s.Status().Update(ctx, run)
	}).Should(Succeed())
	Eventually(get(o.namespace, run.Name)).Should(HaveField("Status.CompletionTime", Not(BeNil())))
}

// expectTold expects one Event about each JobRun that has no outcome and breaks a newer rule. It names the field.
func (o *oldObjects) expectTold() {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var list corev1.EventList
		g.Expect(k8s.List(ctx, &list, client.InNamespace(o.namespace))).To(Succeed())
		told := map[string][]string{}
		for _, event := range list.Items {
			if event.Reason == "RunBreaksNewerRule" {
				told[event.InvolvedObject.Name] = append(told[event.InvolvedObject.Name], event.Message)
			}
		}
		for name, field := range o.fields {
			g.Expect(told[name]).To(ConsistOf(ContainSubstring("refused: "+field+": ")), name)
		}
		g.Expect(told).To(HaveLen(len(o.fields)))
	}).Should(Succeed())
}

// expectOutcomes lets workers and Jobs execute the JobRuns, and expects that they end as any others.
func (o *oldObjects) expectOutcomes() {
	GinkgoHelper()
	o.expectTold() // The replicas of the second upgrade have not told again.
	change(o.namespace, "cancelled", `{"spec":{"cancel":true}}`)
	Eventually(get(o.namespace, "cancelled")).Should(inPhase(v1alpha1.PhaseCancelled))
	Expect(k8s.Delete(ctx, makeRun(o.namespace, "deleted"))).To(Succeed())
	succeed(touch(o.gate))
	w := newWorkers(o.namespace)
	w.hire("worker", checkout.Path("bin", "testworker"))
	for _, name := range []string{"key", "delivery", "batch", "levels", "labels", "job", "job-next"} {
		Eventually(get(o.namespace, name)).Should(inPhase(v1alpha1.PhaseCompleted), name)
	}
	Eventually(withoutOutcome).WithArguments(o.namespace).Should(BeEmpty())
	Expect(get(o.namespace, "receipt")()).To(And(inPhase(v1alpha1.PhaseCoalesced), HaveField("Status.RunRef.Name", "key")))
	Expect(get(o.namespace, "key")()).To(HaveField("Status.Coalesced", HaveValue(HaveField("Count", BeEquivalentTo(1)))))
	Eventually(busyKeys).WithArguments(o.namespace).Should(BeEmpty())

	o.expectKept()
	o.expectRefusedAgain()
}

// expectKept expects that the operator still writes the status of a run that has ended with a larger output than it may have now.
func (o *oldObjects) expectKept() {
	GinkgoHelper()
	change(o.namespace, "output", `{"spec":{"cancel":true}}`)
	Eventually(func(g Gomega) {
		run, err := get(o.namespace, "output")()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(run.Status.ObservedGeneration).To(Equal(run.Generation))
		g.Expect(run.Status.Phase).To(Equal(v1alpha1.PhaseCompleted))
		g.Expect(run.Status.Output.Raw).To(HaveLen(hugeOutput + 2))
	}).Should(Succeed())
}

// expectRefusedAgain expects that a new trigger like each of the JobRuns is refused, with the name of the field.
func (o *oldObjects) expectRefusedAgain() {
	GinkgoHelper()
	runs := jobruns.New(k8s, o.namespace)
	for _, name := range []string{"key", "receipt", "job", "levels", "labels"} {
		_, err := runs.Retrigger(ctx, name)
		Expect(err).To(MatchError(ContainSubstring(o.fields[name])), name)
	}
	for name, again := range map[string]*v1alpha1.JobRun{
		"delivery": makeRun(o.namespace, "again", delivery("once\tonly")),
		"batch": makeRun(o.namespace, "again", func(s *v1alpha1.JobRunSpec) {
			s.Batch = &v1alpha1.BatchMember{ID: "tab\there", Size: 1, Leader: "again"}
		}),
	} {
		err := k8s.Create(ctx, again)
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%s: %v", name, err)
		Expect(err).To(MatchError(ContainSubstring(o.fields[name])))
	}
}

func touch(file string) *exec.Cmd { return exec.CommandContext(ctx, "touch", file) }
