// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// These specs execute the heartbeats of docs/workers.md. They change the path of the ServiceAccount's token, which is
// another one on the node of this suite.
var _ = Describe("Heartbeats of a Job's container", Label(local), func() {
	BeforeEach(func() {
		useNamespace()
		succeeded(tryWith(documented("yaml", "kind: RoleBinding\n"), "apply", "-f", "-"))
	})

	It("keep a run alive for longer than its lease", func() {
		run := documentedHeartbeat("alive", nil)
		apply(run)
		wait("alive", "Complete")
		stored := get("alive")
		Expect(stored.Status.Attempts).To(BeZero())
		Expect(stored.Status.FinishedGeneration).To(BeEquivalentTo(1))
		took := stored.Status.CompletionTime.Sub(stored.Status.StartTime.Time)
		Expect(took.Seconds()).To(BeNumerically(">", 1.4*float64(stored.Spec.LeaseDurationSeconds)))
		beats := strings.Fields(kubectl("logs", "--tail=-1", "--selector=batch.jobrun.dev/run=alive"))
		Expect(beats).To(And(HaveLen(12), HaveEach("200")))
	})

	It("stop when the container hangs, and the Job is gone before the run executes again", func() {
		j := newJournal()
		apply(documentedHeartbeat("hangs", func(script string) string {
			setUp, _, _ := strings.Cut(script, "for part in")
			return setUp + "beat\n" + j.Locked("if [ $JOBRUN_GENERATION = 1 ]; then sleep 600 & sleep 600; fi")
		}))
		wait("hangs", "Complete")
		stored := get("hangs")
		Expect(stored.Status.Attempts).To(BeEquivalentTo(1))
		Expect(stored.Status.FinishedGeneration).To(BeEquivalentTo(3))
		Expect(names("jobs")).To(ConsistOf("hangs-3"))
		Expect(j.Entries("start")).To(HaveLen(2))
		Expect(j.Entries("overlap")).To(BeEmpty(), "processes of both generations executed at the same time")
	})
})

// documentedHeartbeat returns the run with heartbeats of docs/workers.md, under another name.
func documentedHeartbeat(name string, change func(script string) string) manifest {
	GinkgoHelper()
	run := &v1alpha1.JobRun{}
	Expect(yaml.UnmarshalStrict([]byte(documented("yaml", "          serviceAccountName: heartbeat\n")), run)).To(Succeed())
	run.Name = name
	if change != nil {
		script := &run.Spec.Template.Spec.Template.Spec.Containers[0].Args[0]
		*script = change(*script)
	}
	return manifest{run}
}
