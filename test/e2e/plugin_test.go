// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

var _ = Describe("kubectl jobrun", func() {
	BeforeEach(useNamespace)

	// trigger triggers a manifest.
	trigger := func(m manifest, args ...string) answer {
		GinkgoHelper()
		return pluginWith(asYAML(m), append([]string{"trigger", "-f", "-"}, args...)...)
	}

	It("triggers a run, waits for it and prints its output", func() {
		hello := run("hello", `echo "hello $JOBRUN_INPUT"; echo '{"synced": 42}' > "$result"`)
		Expect(trigger(hello, "--key=acme", `--input={"org": "acme"}`, "--label=env=prod", "--wait")).To(says(codeOK,
			"jobrun.batch.jobrun.dev/hello created\njobrun.batch.jobrun.dev/hello completed\noutput: {\"synced\":42}\n",
			ContainSubstring("hello: Completed\n")))
		stored := get("hello")
		Expect(stored.Labels).To(HaveKeyWithValue("env", "prod"))
		Expect(stored.Spec.ConcurrencyKey).To(Equal("acme"))

		Expect(plugin("wait", "hello", "-o", "jsonpath={.status.output}").Stdout).To(MatchJSON(`{"synced": 42}`))
		Expect(plugin("logs", "hello")).To(says(codeOK, MatchRegexp(`^hello \{"org": ?"acme"\}\n$`), HavePrefix("==> pod/hello-1-")))
	})

	It("runs a command in a container without a manifest", func() {
		a := plugin("trigger", "greet", "--name=greet", "--image=busybox:1.37", "--wait", "--", "sh", "-c", "exit 3")
		Expect(a).To(says(codeFailed, "jobrun.batch.jobrun.dev/greet created\n",
			ContainSubstring("error: run greet failed: BackoffLimitExceeded")))
		Expect(plugin("wait", "greet")).To(HaveField("Code", codeFailed))
	})

	It("tells of a trigger that was absorbed, and follows the run that stands for it", func() {
		Expect(trigger(run("first", "exec sleep 600").key("acme"))).To(HaveField("Code", codeOK))
		wait("first", "Leased")
		Expect(trigger(run("next", `echo next; echo 1 > "$result"`).key("acme"))).To(HaveField("Code", codeOK))
		By("refusing, coalescing, predicting")
		third := run("third", quick).key("acme").input(`"skipped"`).label("why", "test")
		Expect(trigger(third)).To(says(codeConflict, BeEmpty(), And(
			HavePrefix("Error from server (Conflict): "), ContainSubstring("run next is pending"),
			ContainSubstring("`kubectl jobrun wait next` waits for that run"), ContainSubstring("--coalesce"))))
		Expect(trigger(third, "--coalesce", "--dry-run=server")).To(says(codeOK,
			"jobrun.batch.jobrun.dev/third coalesced: run next stands for it (server dry run)\n", HavePrefix("Warning: jobrun third coalesced")))
		Expect(names("jobruns")).To(ConsistOf("first", "next"))
		Expect(trigger(third, "--coalesce")).To(says(codeOK,
			"jobrun.batch.jobrun.dev/third coalesced: run next stands for it\n", HavePrefix("Warning: jobrun third coalesced: run next")))
		Expect(trigger(third.with(func(r *v1alpha1.JobRun) { r.Name = "fourth" }), "--coalesce", "-o", "name")).To(says(codeOK,
			"jobrun.batch.jobrun.dev/fourth\n", ContainSubstring("run next")))
		Expect(plugin("list")).To(says(codeOK, And(MatchRegexp(`(?m)^next +sync +acme +Pending +2 `), Not(ContainSubstring("third"))), BeEmpty()))
		Expect(plugin("retrigger", "third")).To(says(codeConflict, BeEmpty(), ContainSubstring("run next is pending")))

		By("showing who executes and who waits")
		Eventually(plugin).WithArguments("keys").Should(says(codeOK,
			MatchRegexp(`(?m)^sync +acme +first +1 +executes +next +\d+s$`), BeEmpty()))
		Expect(plugin("wait", "third", "--timeout=1s")).To(says(codeTimeout, BeEmpty(),
			ContainSubstring("error: timed out after 1s; run next, which stands for third, goes on. To wait again: `kubectl jobrun wait third`")))

		By("cancelling the one that executes, and following the receipt")
		Expect(plugin("cancel", "first", "--wait")).To(says(codeOK, "jobrun.batch.jobrun.dev/first cancelled\n", Not(BeEmpty())))
		Expect(plugin("logs", "-f", "third")).To(says(codeOK, "next\n", And(
			ContainSubstring("==> pod/next-1-"), HaveSuffix("next: Completed\n"))))
		Expect(plugin("wait", "third")).To(says(codeOK,
			"jobrun.batch.jobrun.dev/third completed by run next\noutput: 1\n", Not(BeEmpty())))
		Eventually(plugin).WithArguments("describe", "third").Should(says(codeOK, And(
			MatchRegexp(`(?m)^Stands for it: +next$`), MatchRegexp(`(?m)^Receipts \(2 absorbed\):$`),
			MatchRegexp(`(?m)^  third +Coalesced +\d+s +why=test +"skipped"$`), MatchRegexp(`(?m)^  next-1 +Complete`),
			MatchRegexp(`(?m)^  next-1-\w+ +Succeeded +1 `),
			MatchRegexp(`(?s)RunTriggered .*RunCoalesced .*RunLeased .*RunCompleted `)), BeEmpty()))
	})

	It("triggers again what failed, and knows what was delivered before", func() {
		failing := run("a", "exit 1").key("acme").delivery("hook-1")
		Expect(trigger(failing, "--wait")).To(HaveField("Code", codeFailed))
		Expect(trigger(failing, "--name=b")).To(says(codeOK, "jobrun.batch.jobrun.dev/b idempotent: run a stands for it\n", HavePrefix("Warning: ")))
		Expect(plugin("keys", "--idempotency")).To(says(codeOK, MatchRegexp(`(?m)^sync +hook-1 +a +`), BeEmpty()))
		Expect(plugin("retrigger", "b", "--name=c", "--wait")).To(says(codeFailed,
			"jobrun.batch.jobrun.dev/c created\n", ContainSubstring("error: run c failed")))
		Expect(get("c").Spec.IdempotencyKey).To(BeEmpty())
		Expect(plugin("release-key", "sync", "--idempotency-key", "hook-1")).To(says(codeOK, ContainSubstring("run a failed; the next delivery executes"), BeEmpty()))
		Expect(trigger(failing, "--name=d")).To(says(codeOK, "jobrun.batch.jobrun.dev/d created\n", BeEmpty()))
	})

	It("prints objects for programs, and nothing else", func() {
		var run v1alpha1.JobRun
		Expect(json.Unmarshal([]byte(plugin("trigger", "sync", "--name=a", "-o", "json").Stdout), &run)).To(Succeed())
		Expect(run.Spec.Admission).To(HaveField("RunName", "a"))
		Expect(yaml.UnmarshalStrict([]byte(plugin("cancel", "a", "--wait", "-o", "yaml").Stdout), &run)).To(Succeed())
		Expect(run.Status.Phase).To(Equal(v1alpha1.PhaseCancelled))
		name := strings.TrimSpace(plugin("trigger", "sync", "--name=b", "-o", "name").Stdout)
		Expect(plugin("cancel", name, "--wait")).To(says(codeOK, name+" cancelled\n", Not(BeEmpty())))
		Expect(plugin("wait", name)).To(says(codeFailed, BeEmpty(), ContainSubstring("error: run b was cancelled")))
	})

	It("knows how a run has ended that goes at once", func() {
		for _, args := range [][]string{{"--wait"}, {}} {
			Expect(plugin("trigger", "sync", "--name=a", "--ttl=0")).To(HaveField("Code", codeOK))
			Expect(plugin(append([]string{"cancel", "a"}, args...)...)).To(says(codeOK, HavePrefix("jobrun.batch.jobrun.dev/a cancel"), Not(ContainSubstring("error"))))
			Eventually(plugin).WithArguments("wait", "a").Should(HaveField("Code", codeFailed))
		}
	})

	It("refuses what makes no sense", func() {
		Expect(plugin("trigger")).To(says(codeUsage, BeEmpty(), ContainSubstring("which job?")))
		Expect(plugin("trigger", "sync", "--input={")).To(says(codeUsage, BeEmpty(), ContainSubstring("--input is not JSON")))
		Expect(plugin("wait")).To(says(codeUsage, BeEmpty(), ContainSubstring("See 'kubectl jobrun wait --help' for usage.")))
		Expect(plugin("wait", "none")).To(says(codeFailed, BeEmpty(), ContainSubstring(`Error from server (NotFound): jobruns.batch.jobrun.dev "none" not found`)))
		Expect(names("jobruns")).To(BeEmpty())
	})

	It("goes on with the next attempt's logs, and lets a run go on at Ctrl-C", func() {
		apply(run("a", `echo "generation $JOBRUN_GENERATION"; `+once).key("acme"))
		Expect(interrupted("generation 1", "logs", "-f", "a")).To(says(codeInterrupted, "generation 1\n",
			HaveSuffix("error: interrupted; run a goes on. To wait again: `kubectl jobrun logs -f a`\n")))
		followed := make(chan answer)
		go func() {
			defer GinkgoRecover()
			followed <- plugin("logs", "-f", "a")
		}()
		kubectl("delete", "job", "a-1")
		Eventually(followed).Should(Receive(says(codeOK, HaveSuffix("generation 3\n"), ContainSubstring("==> pod/a-3-"))))
	})

	It("takes its command along when it is killed, and another one executes the run", func() {
		apply(workerRun("a").key("acme").leaseFor(2))
		file := filepath.Join(GinkgoT().TempDir(), "group")
		first := started("worker", "--job="+job, "--name=first", "--", "sh", "-c", "echo $$ > "+file+"; exec sleep 600")
		var group int
		Eventually(func() error {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			group, err = strconv.Atoi(strings.TrimSpace(string(text)))
			return err
		}).Should(Succeed())
		Expect(members(group)).NotTo(BeEmpty())
		killed(first)
		Eventually(members).WithArguments(group).Should(BeEmpty())

		started("worker", "--job="+job, "--name=second", "--", "sh", "-c", `echo "[$JOBRUN_GENERATION, $JOBRUN_KEY_VERSION]"`)
		wait("a", "Complete")
		status := get("a").Status
		Expect(status.Lease).To(HaveValue(And(HaveField("HolderIdentity", "second"), HaveField("Generation", BeEquivalentTo(3)))))
		Expect(status.Output.Raw).To(MatchJSON("[3, " + status.Lease.KeyVersion + "]"))
		Expect(status.Attempts).To(BeEquivalentTo(1))
	})

	It("completes names, as kubectl asks it to", func() {
		Expect(checkout.Path("bin", "kubectl_complete-jobrun")).To(BeAnExistingFile(), "run `make build`, which links it")
		Expect(plugin("trigger", "sync", "--name=abc")).To(HaveField("Code", codeOK))
		Expect(runKubectl("", "__complete", "jobrun", "wait", "--namespace="+ns, "a")).To(says(codeOK, "abc\n:4\n", Not(BeNil())))
	})

	It("needs no more than the built-in roles give", Label(local), func() {
		apply(run("a", "echo hello").key("acme"))
		wait("a", "Complete")
		as("view", func() {
			for _, command := range [][]string{{"wait", "a"}, {"logs", "a"}, {"logs", "-f", "a"}, {"list"}, {"keys"}} {
				Expect(plugin(command...)).To(HaveField("Code", codeOK))
			}
			Expect(plugin("describe", "a")).To(says(codeOK, And(ContainSubstring("Events:"), Not(ContainSubstring("not yours"))), BeEmpty()))
			for _, command := range [][]string{{"trigger", "sync"}, {"retrigger", "a"}, {"cancel", "a"}} {
				Expect(plugin(command...)).To(says(codeFailed, BeEmpty(), HavePrefix("Error from server (Forbidden): ")))
			}
		})
		as("edit", func() {
			Expect(plugin("retrigger", "a", "--wait")).To(HaveField("Code", codeOK))
			Expect(plugin("trigger", "sync", "--name=b")).To(HaveField("Code", codeOK))
			Expect(plugin("cancel", "b", "--wait")).To(HaveField("Code", codeOK))
		})
	})
})
