// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// events returns a function that lists the Events about a run.
func events(run *v1alpha1.JobRun) func() ([]eventsv1.Event, error) {
	return func() ([]eventsv1.Event, error) {
		var all eventsv1.EventList
		err := k8s.List(ctx, &all, client.InNamespace(run.Namespace))
		var found []eventsv1.Event
		for _, event := range all.Items {
			if event.Regarding.UID == run.UID {
				found = append(found, event)
			}
		}
		return found, err
	}
}

func event(reason, action, kind string, more ...gomegatypes.GomegaMatcher) gomegatypes.GomegaMatcher {
	return And(append(more, HaveField("Reason", reason), HaveField("Action", action), HaveField("Type", kind),
		HaveField("ReportingController", "jobrun"), HaveField("Regarding.Kind", "JobRun"))...)
}

// The specs only check that Events exist, because the recorder may drop and merge Events.
var _ = Describe("Events", func() {
	It("describe how a run completes", func() {
		a, j := leased(created(makeRun("a").key("k")))
		completeJob(j)
		Eventually(events(a)).Should(ContainElements(
			event("RunTriggered", "run:trigger", "Normal"),
			event("RunLeased", "run:leased", "Normal"),
			event("RunCompleted", "run:complete", "Normal")))
	})

	It("describe how a run fails", func() {
		a, j := leased(created(makeRun("a").key("k")))
		failJob(j, "BackoffLimitExceeded", "gave up")
		Eventually(events(a)).Should(ContainElement(
			event("RunFailed", "run:fail", "Warning", HaveField("Note", ContainSubstring("gave up")))))
	})

	It("describe that a run is cancelled", func() {
		a := created(makeWorkerRun("a").key("k"))
		cancel(a)
		Eventually(events(a)).Should(ContainElement(event("RunCancelled", "run:cancel", "Normal")))
	})

	It("describe an absorbed trigger with its input and labels", func() {
		a := created(makeWorkerRun("a").key("k"))
		b := absorbed(makeWorkerRun("b").key("k").skip().input(`{"org":"acme"}`).label("env", "prod"), a)
		Eventually(events(a)).Should(ContainElement(event("RunCoalesced", "run:coalesced", "Normal",
			HaveField("Related", HaveValue(And(HaveField("Name", "b"), HaveField("UID", b.UID), HaveField("Kind", "JobRun")))),
			HaveField("Note", And(ContainSubstring(`{"org":"acme"}`), ContainSubstring(`"env":"prod"`))))))
		Expect(events(b)()).To(BeEmpty())
	})

	It("aggregate the triggers of a flood", func() {
		const flood = 200
		a := created(makeWorkerRun("a").key("k"))
		triggers := make([]builder, flood)
		for i := range triggers {
			triggers[i] = makeWorkerRun(fmt.Sprintf("flood-%d", i)).key("k").skip().input(strconv.Itoa(i))
		}
		storm(triggers)
		recent := wait(a, HaveField("Status.Coalesced", HaveValue(HaveField("Count", BeEquivalentTo(flood))))).Status.Coalesced.Recent
		last := recent[len(recent)-1]

		var told []eventsv1.Event
		Eventually(func(g Gomega) {
			told = nil
			counted := int32(0)
			found, err := events(a)()
			g.Expect(err).NotTo(HaveOccurred())
			for _, e := range found {
				if e.Reason == "RunCoalesced" {
					told = append(told, e)
					counted += max(e.DeprecatedCount, 1)
				}
			}
			g.Expect(counted).To(BeEquivalentTo(flood))
		}).Should(Succeed())
		Expect(told).To(HaveLen(6), "five triggers have an Event each, and one Event tells of the others")

		Expect(told).To(ContainElement(event("RunCoalesced", "run:coalesced", "Normal",
			HaveField("DeprecatedCount", BeEquivalentTo(flood-5)), HaveField("Related.Name", last.Name),
			HaveField("Note", And(HavePrefix("absorbed 200 triggers; "), ContainSubstring("latest: "+last.Name+" input "+last.Input+"; "))))))
	})

	It("have a note of at most 1,024 bytes, cut between runes", func() {
		a := created(makeWorkerRun("a").key("k"))
		absorbed(makeWorkerRun("b").key("k").skip().input(`"`+strings.Repeat("鍵", 2000)+`"`), a)
		Eventually(events(a)).Should(ContainElement(event("RunCoalesced", "run:coalesced", "Normal",
			HaveField("Note", And(
				WithTransform(func(note string) int { return len(note) }, BeNumerically("<=", 1024)),
				WithTransform(utf8.ValidString, BeTrue()),
				HaveSuffix("鍵"))))))
	})

	It("describe that a lease expired", func() {
		a := claim(created(makeWorkerRun("a")), "worker", 1)
		Eventually(events(a)).Should(ContainElement(
			event("RunLeaseExpired", "run:expired", "Warning", HaveField("Note", ContainSubstring("worker")))))
	})

	It("describe that a Job is refused for now", func() {
		forbidJobs()
		a := created(makeRun("a").key("k"))
		Eventually(events(a)).Should(ContainElement(
			event("RunBlocked", "run:blocked", "Warning", HaveField("Note", ContainSubstring("exceeded quota")))))
	})

	It("do not describe a second delivery", func() {
		a := created(makeWorkerRun("a").delivery("d"))
		b, _ := delivered(makeWorkerRun("b").delivery("d"), a)
		wait(b, inPhase(v1alpha1.PhaseIdempotent))
		Eventually(events(a)).Should(HaveLen(1))
		Consistently(events(b)).Should(BeEmpty())
		Expect(events(a)()).To(ConsistOf(event("RunTriggered", "run:trigger", "Normal")))
	})
})
