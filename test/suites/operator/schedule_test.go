// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/controller"
	"github.com/jobrun-dev/jobrun/internal/schedule"
)

// aheadClock is a clock that is ahead of the real one.
type aheadClock struct {
	clock.RealClock
	by time.Duration
}

func (c aheadClock) Now() time.Time { return c.RealClock.Now().Add(c.by) }

func (c aheadClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// ahead returns the options of a controller whose clock is ahead.
func ahead(by time.Duration) controller.Options {
	o := production()
	o.Clock = aheadClock{by: by}
	return o
}

// untilMinute returns how much a clock is ahead that shows the next whole minute in a time of left.
func untilMinute(left time.Duration) time.Duration {
	now := time.Now()
	return now.Truncate(time.Minute).Add(time.Minute - left).Sub(now)
}

// definition stores a definition of the job with one schedule, which is deleted when the spec ends.
func definition(expression string, change func(*v1alpha1.JobDefinition)) *v1alpha1.JobDefinition {
	GinkgoHelper()
	d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: job, Namespace: ns}}
	if expression != "" {
		d.Spec.Schedules = []v1alpha1.JobSchedule{{Name: "s", Schedule: expression}}
	}
	if change != nil {
		change(d)
	}
	Expect(k8s.Create(ctx, d)).To(Succeed())
	DeferCleanup(func() { remove(d) })
	return d
}

// known returns a function that reads what the status of a definition says about its schedule.
func known(d *v1alpha1.JobDefinition) func(Gomega) v1alpha1.JobScheduleStatus {
	return func(g Gomega) v1alpha1.JobScheduleStatus {
		current := &v1alpha1.JobDefinition{}
		g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(d), current)).To(Succeed())
		g.Expect(current.Status.Schedules).To(HaveLen(1))
		return current.Status.Schedules[0]
	}
}

var _ = Describe("A schedule", Serial, func() {
	It("triggers at the next minute", func() {
		useControllers(ahead(untilMinute(3 * time.Second)))
		d := definition("* * * * *", func(d *v1alpha1.JobDefinition) {
			d.Spec.Schedules[0].Input = &apiextensionsv1.JSON{Raw: []byte(`{"org":"acme"}`)}
		})
		Eventually(known(d)).Should(HaveField("LastResult", "Created"))
		s := known(d)(NewWithT(GinkgoT()))
		Expect(s.LastScheduleTime.Second()).To(BeZero())
		Expect(s.NextScheduleTime.Sub(s.LastScheduleTime.Time)).To(Equal(time.Minute))
		run, err := get(s.LastRunName)()
		Expect(err).NotTo(HaveOccurred())
		Expect(schedule.IsRunOf(run, d, &d.Spec.Schedules[0], s.LastScheduleTime.Time)).To(BeTrue())
		Expect(run.Spec.Input.Raw).To(MatchJSON(`{"org":"acme"}`))
		wait(run, inPhase(v1alpha1.PhasePending))
		Eventually(func(g Gomega) {
			g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(d), d)).To(Succeed())
			g.Expect(d.Status.Waiting).To(HaveValue(BeEquivalentTo(1)))
		}).Should(Succeed())
		Expect(d.NotReady()).To(BeNil())
		Expect(d.Status.Conditions).To(HaveLen(1))
	})

	It("catches up once after a downtime, whoever acts", func() {
		seen.tolerate(ns)
		theControllers.stop()
		d := definition("0 * * * *", nil)
		useControllers(ahead(3*time.Hour), ahead(3*time.Hour+time.Second))
		Eventually(known(d)).Should(HaveField("LastResult", "Created"))
		Consistently(func() int { return len(runs()) }).Should(Equal(1))
		now := time.Now().Add(3 * time.Hour)
		Expect(now.Sub(known(d)(NewWithT(GinkgoT())).LastScheduleTime.Time)).To(BeNumerically("<", time.Hour+time.Minute))
	})

	It("triggers a hundred definitions on the same minute, each once", func() {
		const many = 100
		seen.tolerate(ns)
		theControllers.stop()
		var all []*v1alpha1.JobDefinition
		for i := range many {
			all = append(all, definition("0 * * * *", func(d *v1alpha1.JobDefinition) { d.Name = fmt.Sprint("job-", i) }))
		}
		useControllers(ahead(2*time.Hour), ahead(2*time.Hour+time.Second))
		for _, d := range all {
			Eventually(known(d)).Should(HaveField("LastResult", "Created"))
		}
		Expect(runs()).To(HaveLen(many))
	})

	// A backup has the definition, and perhaps its status. The operator promises no run for the times before the restore.
	It("catches up nothing from before a restore, even with the status of the backup", func() {
		theControllers.stop()
		leapDay := func(year int) *metav1.Time { return ptr.To(metav1.Date(year, time.February, 29, 0, 0, 0, 0, time.UTC)) }
		d := definition("0 0 29 2 *", func(d *v1alpha1.JobDefinition) {
			d.Labels = map[string]string{v1alpha1.LabelVeleroRestore: "after-the-fire"}
		})
		d.Status = v1alpha1.JobDefinitionStatus{ObservedGeneration: 7, Schedules: []v1alpha1.JobScheduleStatus{{
			Name: "s", LastScheduleTime: leapDay(2020), LastResult: "Created", NextScheduleTime: leapDay(2024),
		}}}
		Expect(k8s.Status().Update(ctx, d)).To(Succeed())
		useControllers(production())
		Eventually(known(d)).Should(HaveField("NextScheduleTime.Time", BeTemporally(">", time.Now())))
		Expect(known(d)(NewWithT(GinkgoT()))).To(And(
			HaveField("LastScheduleTime.Time", BeTemporally("==", leapDay(2020).Time)), HaveField("LastResult", "Created")))
		Expect(runs()).To(BeEmpty())
	})

	It("triggers nothing later than startingDeadlineSeconds", func() {
		theControllers.stop()
		d := definition("0 0 1 1 *", func(d *v1alpha1.JobDefinition) { d.Spec.Schedules[0].StartingDeadlineSeconds = 60 })
		useControllers(ahead(366 * 24 * time.Hour))
		Eventually(known(d)).Should(HaveField("LastResult", HavePrefix("Missed: ")))
		Expect(runs()).To(BeEmpty())
	})
})

var _ = Describe("The history of a definition", Ordered, Serial, func() {
	// The webhook that completes triggers would set spec.admission.definition.
	BeforeAll(withoutWebhook)

	It("keeps the latest runs", func() {
		d := definition("", func(d *v1alpha1.JobDefinition) {
			d.Spec.SuccessfulRunsHistoryLimit, d.Spec.FailedRunsHistoryLimit = ptr.To(int32(2)), ptr.To(int32(0))
		})
		end := func(name string, how func(*v1alpha1.JobRunStatus)) {
			GinkgoHelper()
			run, _, err := trigger(makeWorkerRun(name).with(func(run *v1alpha1.JobRun) {
				run.Spec.Admission = &v1alpha1.Admission{
					Disposition: v1alpha1.DispositionCreated, RunName: name, RunToken: "token-" + name, Token: "token-" + name,
					Executor: v1alpha1.ExecutorWorker, Definition: d.Reference(),
				}
			}))
			Expect(err).NotTo(HaveOccurred())
			Expect(writeStatus(claim(run, "worker", 60), how)).To(Succeed())
		}
		for i := range 4 {
			end(fmt.Sprint("a-", i), completed)
		}
		end("b", func(s *v1alpha1.JobRunStatus) {
			completed(s)
			s.Phase, s.Error = v1alpha1.PhaseFailed, "it failed"
		})
		Eventually(func() []string {
			var names []string
			for _, run := range runs() {
				names = append(names, run.Name)
			}
			return names
		}).Should(ConsistOf("a-2", "a-3"))
		Eventually(func(g Gomega) {
			g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(d), d)).To(Succeed())
			g.Expect(d.Status.LastOutcome).To(Equal(v1alpha1.PhaseFailed))
			g.Expect(d.Status.Executing).To(HaveValue(BeZero()))
		}).Should(Succeed())
	})
})
