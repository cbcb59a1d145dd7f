// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var _ = Describe("A run", func() {
	It("is executed by a Job that it owns", func() {
		risen := counts("jobrun_trigger_to_lease_seconds", "")
		a, j := leased(created(makeRun("a").key("k").input(`{"org":"acme"}`).with(func(r *v1alpha1.JobRun) {
			r.Labels = map[string]string{"team": "data", "app.kubernetes.io/instance": "argo"}
			r.Annotations = map[string]string{"example.com/ticket": "OPS-12", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
			r.Spec.Template.Labels = map[string]string{"kueue.x-k8s.io/queue-name": "batch"}
			r.Spec.Template.Spec.TTLSecondsAfterFinished = ptr.To[int32](0)
			r.Spec.Template.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "JOBRUN_GENERATION", Value: "0"}, {Name: "MINE", Value: "yes"}}
		})))

		Expect(a.Status.Lease).To(HaveValue(And(
			HaveField("HolderIdentity", "job/a-1"), HaveField("Generation", BeEquivalentTo(1)), HaveField("KeyVersion", Not(BeEmpty())))))
		Expect(a).To(beBoundTo(a))
		Expect(a.Status.StartTime).NotTo(BeNil())
		Expect(keyOf("k").Leased.FromVersion).To(Equal(a.Status.Lease.KeyVersion))

		Eventually(risen).Should(BeNumerically(">=", 1), "a run that an earlier spec left may start, too")

		Expect(j.Name).To(Equal("a-1"))
		Expect(metav1.GetControllerOf(j)).To(HaveValue(And(HaveField("Name", "a"), HaveField("UID", a.UID))))
		Expect(j.Spec.TTLSecondsAfterFinished).To(BeNil())
		for _, annotations := range []map[string]string{j.Annotations, j.Spec.Template.Annotations} {
			Expect(annotations).To(And(
				HaveKeyWithValue("example.com/ticket", "OPS-12"), Not(HaveKey("kubectl.kubernetes.io/last-applied-configuration"))))
		}
		for _, labels := range []map[string]string{j.Labels, j.Spec.Template.Labels} {
			Expect(labels).To(And(
				HaveKeyWithValue("team", "data"), Not(HaveKey("app.kubernetes.io/instance")),
				HaveKeyWithValue(v1alpha1.LabelRun, "a"),
				HaveKeyWithValue(v1alpha1.LabelJobName, job),
				HaveKeyWithValue(v1alpha1.LabelKey, v1alpha1.ConcurrencyKeyName(job, "k"))))
		}
		Expect(j.Labels).To(HaveKeyWithValue("kueue.x-k8s.io/queue-name", "batch"))
		Expect(j.Spec.Template.Spec.Containers[0].Env).To(Equal([]corev1.EnvVar{
			{Name: "JOBRUN_NAME", Value: "a"},
			{Name: "JOBRUN_NAMESPACE", Value: ns},
			{Name: "JOBRUN_JOB_NAME", Value: job},
			{Name: "JOBRUN_INPUT", Value: `{"org":"acme"}`},
			{Name: "JOBRUN_CONCURRENCY_KEY", Value: "k"},
			{Name: "JOBRUN_GENERATION", Value: "1"},
			{Name: "JOBRUN_KEY_VERSION", Value: a.Status.Lease.KeyVersion},
			{Name: "JOBRUN_INPUT_ORG", Value: "acme"},
			{Name: "MINE", Value: "yes"},
		}))
	})

	DescribeTable("completes with the termination message as its output",
		func(key, message, output string) {
			a, j := leased(created(makeRun("a").key(key)))
			endPod(startPod(j), message)
			completeJob(j)

			a = wait(a, haveCondition(v1alpha1.ConditionComplete))
			Expect(a.Status.Phase).To(Equal(v1alpha1.PhaseCompleted))
			Expect(a.Status.FinishedGeneration).To(BeEquivalentTo(1))
			Expect(a.Status.CompletionTime).NotTo(BeNil())
			Expect(a.Status.Error).To(BeEmpty())
			if output == "" {
				Expect(a.Status.Output).To(BeNil())
			} else {
				Expect(a.Status.Output.Raw).To(MatchJSON(output))
			}
			Eventually(keys).Should(BeEmpty())
			Eventually(history(a)).Should(Equal([]string{"Leased 1", "Completed 1"}))
		},
		Entry("that is JSON", "k", `{"rows": [1, 2.50]}`, `{"rows":[1,2.50]}`),
		Entry("that is text", "k", "3 rows\n\"done\"\n", `"3 rows\n\"done\""`),
		Entry("that is empty", "k", "", ""),
		Entry("without a key", "", "42", "42"),
	)

	It("fails with its Job, with the Job's reason and message", func() {
		a, j := leased(created(makeRun("a").key("k")))
		finished, took := counts("jobrun_runs_finished_total", ns), counts("jobrun_run_duration_seconds", ns)
		failJob(j, "BackoffLimitExceeded", "Job has reached the specified backoff limit")

		a = wait(a, haveCondition(v1alpha1.ConditionFailed))
		Expect(a.Status.Phase).To(Equal(v1alpha1.PhaseFailed))
		Expect(a.Status.Error).To(And(ContainSubstring("BackoffLimitExceeded"), ContainSubstring("reached the specified backoff limit")))
		Eventually(keys).Should(BeEmpty())
		Eventually(finished).Should(Equal(1))
		Expect(took()).To(Equal(1))
	})

	It("starts when the run before it has ended", func() {
		a, j := leased(created(makeRun("a").key("k")))
		b := wait(created(makeRun("b").key("k")), inPhase(v1alpha1.PhasePending))
		Expect(jobs()).To(HaveLen(1))
		completeJob(j)

		b, j = leased(b)
		completeJob(j)
		wait(b, inPhase(v1alpha1.PhaseCompleted))
		Eventually(history(a)).Should(Equal([]string{"Leased 1", "Completed 1"}))
		Eventually(history(b)).Should(Equal([]string{"Pending", "Leased 1", "Completed 1"}))
		Eventually(keys).Should(BeEmpty())
	})

	It("without a template waits for a worker", func() {
		a := wait(created(makeWorkerRun("a").key("k")), inPhase(v1alpha1.PhasePending))
		Consistently(get("a")).Should(HaveField("ResourceVersion", a.ResourceVersion))
	})

	It("gives its Job the input unchanged, whatever the caller chose", func() {
		input := `"$(HOSTNAME) ` + strings.Repeat("x", 100) + `"`
		_, j := leased(created(makeRun("a").input(input)))
		Expect(j.Spec.Template.Spec.Containers[0].Env).To(ContainElement(
			corev1.EnvVar{Name: "JOBRUN_INPUT", Value: strings.Replace(input, "$", "$$", 1)}))
	})
})
