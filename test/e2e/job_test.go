// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// once is a script that hangs under generation 1, and succeeds under later ones.
const once = `[ "$JOBRUN_GENERATION" != 1 ] || exec sleep 600`

var _ = Describe("The Job of a run", func() {
	BeforeEach(useNamespace)

	It("may vanish: its run executes again, or fails if another run waits for its key", func() {
		apply(run("no-key", once), run("alone", once).key("acme"), run("followed", once).key("globex"))
		for _, name := range []string{"no-key", "alone", "followed"} {
			wait(name, "Leased")
		}
		apply(run("follower", quick).key("globex"))
		wait("follower", "Pending")
		kubectl("delete", "jobs", "--all")

		for _, name := range []string{"no-key", "alone"} {
			wait(name, "Complete")
			status := get(name).Status
			Expect(status.Attempts).To(BeEquivalentTo(1))
			Expect(status.Lease.Generation).To(BeNumerically(">", 1))
		}
		wait("followed", "Failed")
		Expect(get("followed").Status.Error).To(Equal("Lease expired; pending run follower already exists"))
		wait("follower", "Complete")
		Eventually(takenKeys).Should(BeEmpty())
		Eventually(kubectl).WithArguments("events", "--for=jobrun/alone").Should(And(ContainSubstring("RunLeaseExpired"), ContainSubstring("JobLost")))
	})

	It("may be deleted while it executes: a Pod that then exits 0 completes nothing, and onJobLost may forbid another try", func() {
		const obedient = `trap 'echo half > /dev/termination-log; exit 0' TERM; sleep 600 & wait`
		apply(run("a", obedient).key("acme").with(func(r *v1alpha1.JobRun) { r.Spec.OnJobLost = v1alpha1.OnJobLostFail }))
		wait("a", "Leased")
		Eventually(kubectl).WithArguments("get", "pods", "-o", "jsonpath={.items[*].status.phase}").Should(Equal("Running"))
		kubectl("delete", "job", "a-1", "--cascade=foreground")
		wait("a", "Failed")
		status := get("a").Status
		Expect(status.Conditions).To(HaveEach(HaveField("Reason", "JobLost")))
		Expect(status.Error).To(Equal("Job a-1 was deleted before it ended; the run does not execute again, because onJobLost is Fail"))
		Expect(status.Output).To(BeNil())
		Eventually(kubectl).WithArguments("events", "--for=jobrun/a").Should(ContainSubstring("JobLost"))
		Eventually(takenKeys).Should(BeEmpty())
	})

	It("may be deleted as soon as it has completed: its run executes once", func() {
		const runs = 4
		for n := range runs {
			name := fmt.Sprintf("r%d", n)
			apply(run(name, "sleep 4; echo 1 > /dev/termination-log").key(name))
			Eventually(names).WithArguments("jobs").Should(ContainElement(name + "-1"))
			kubectl("patch", "job", name+"-1", "--type=merge", "--patch", `{"spec":{"ttlSecondsAfterFinished":0}}`)
		}
		for n := range runs {
			name := fmt.Sprintf("r%d", n)
			wait(name, "Complete")
			status := get(name).Status
			Expect(status.Attempts).To(BeZero())
			Expect(status.Lease.Generation).To(BeEquivalentTo(1))
			if status.Output == nil {
				Expect(status.Error).To(HavePrefix("the output is unknown"))
				Eventually(kubectl).WithArguments("events", "--for=jobrun/"+name).Should(ContainSubstring("RunOutputLost"))
			}
		}
		Eventually(names).WithArguments("jobs").Should(BeEmpty())
	})

	It("may be refused for now: status.error has the refusal, and the run executes once there is room", func() {
		kubectl("create", "quota", "none", "--hard=count/jobs.batch=0")
		apply(run("a", quick).key("acme"))
		Eventually(get).WithArguments("a").Should(HaveField("Status.Error", ContainSubstring("quota")))
		Expect(get("a").Status.Phase).To(Equal(v1alpha1.PhaseLeased))
		Eventually(kubectl).WithArguments("events", "--for=jobrun/a").Should(ContainSubstring("RunBlocked"))
		kubectl("delete", "quota", "none")
		wait("a", "Complete")
		Expect(get("a").Status.Error).To(BeEmpty())
	})

	It("is bounded by activeDeadlineSeconds, even if it never starts or does not stop, and the next run of its key gets its turn", func() {
		const (
			deadline = 6
			grace    = 5
		)
		bounded := func(name, script string) manifest {
			return run(name, script).key(name).with(func(r *v1alpha1.JobRun) { r.Spec.ActiveDeadlineSeconds = deadline })
		}
		stubborn := bounded("stubborn", `trap "" TERM; exec sleep 600`).with(func(r *v1alpha1.JobRun) {
			r.Spec.Template.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(grace))
		})
		apply(stubborn, bounded("suspended", quick).with(func(r *v1alpha1.JobRun) { r.Spec.Template.Spec.Suspend = new(true) }))
		Eventually(names).WithArguments("jobs").Should(HaveLen(2))
		kubectl("create", "quota", "none", "--hard=count/jobs.batch=0")
		Eventually(kubectl).WithArguments("get", "quota", "none", "-o", "jsonpath={.status.hard}").Should(ContainSubstring("jobs"))
		apply(bounded("refused", quick))
		bound := []string{"stubborn", "suspended", "refused"}
		for _, name := range bound {
			Eventually(get).WithArguments(name).Should(HaveField("Status.StartTime", Not(BeNil()))) // It does not wait.
			apply(run("after-"+name, quick).key(name))
		}
		for _, name := range bound {
			wait(name, "Failed")
			status := get(name).Status
			Expect(status.Conditions).To(HaveEach(HaveField("Reason", "DeadlineExceeded")))
			Expect(status.Error).To(HavePrefix("the lease lasted longer than activeDeadlineSeconds, 6 seconds"))
			Expect(status.CompletionTime.Sub(status.Lease.AcquireTime.Time)).To(BeNumerically("<=", (deadline+10)*time.Second))
		}
		Expect(get("refused").Status.Error).To(ContainSubstring("exceeded quota"))
		kubectl("delete", "quota", "none")
		for _, name := range bound {
			wait("after-"+name, "Complete")
		}
		stopped := get("after-stubborn").Status.StartTime.Sub(get("stubborn").Status.CompletionTime.Time)
		Expect(stopped).To(BeNumerically(">=", (grace-1)*time.Second), "the key was free before the Pod had ended")
		Eventually(takenKeys).Should(BeEmpty())
	})
})

var _ = Describe("An external worker", func() {
	BeforeEach(useNamespace)

	It("loses its lease when it does not renew it, and cannot end the run then", func() {
		apply(workerRun("w").with(func(r *v1alpha1.JobRun) { r.Spec.LeaseDurationSeconds = 1 }))
		wait("w", "Pending")
		patch := func(status string) answer {
			GinkgoHelper()
			return try("patch", "jobrun", "w", "--subresource=status", "--type=merge", "--patch", `{"status":`+status+`}`)
		}
		succeeded(patch(`{"phase":"Leased","lease":{"holderIdentity":"worker","generation":1}}`))
		wait("w", "Pending")
		status := get("w").Status
		Expect(status.Attempts).To(BeEquivalentTo(1))
		Expect(status.Lease).To(And(HaveField("Generation", BeEquivalentTo(2)), HaveField("HolderIdentity", "")))

		succeeded(patch(`{"phase":"Leased","lease":{"holderIdentity":"worker","generation":3}}`))
		late := patch(`{"phase":"Completed","finishedGeneration":1}`)
		Expect(late).To(And(HaveField("Code", 1), HaveField("Stderr", ContainSubstring("this holder's lease was lost"))))
	})
})
