// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cli"
)

// invocation is an invocation of the kubectl plugin with the rights of a worker.
type invocation struct {
	stdout, stderr *gbytes.Buffer
	interrupt      context.CancelFunc
	code           chan int
}

func start(args ...string) *invocation {
	i := &invocation{stdout: gbytes.NewBuffer(), stderr: gbytes.NewBuffer(), code: make(chan int, 1)}
	var running context.Context
	running, i.interrupt = context.WithCancel(ctx)
	args = append([]string{args[0], "--kubeconfig=" + kubeconfig, "--namespace=" + ns}, args[1:]...)
	go func() {
		i.code <- cli.Main(running, args, cli.Options{
			Streams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: i.stdout, ErrOut: i.stderr},
		})
	}()
	DeferCleanup(i.interrupt)
	return i
}

func (i *invocation) ends(code int) {
	GinkgoHelper()
	var got int
	Eventually(i.code).Should(Receive(&got))
	GinkgoWriter.Println(string(i.stderr.Contents()))
	Expect(got).To(Equal(code), "%s", i.stderr.Contents())
}

// kubectlJobrun runs the plugin to its end and returns stdout.
func kubectlJobrun(code int, args ...string) string {
	GinkgoHelper()
	i := start(args...)
	i.ends(code)
	return string(i.stdout.Contents())
}

// The exit codes of the plugin.
const (
	codeOK      = 0
	codeFailed  = 1
	codeNothing = 5
	codeLost    = 6
)

// family is a script with a child process. It writes its process group to a file, and ignores SIGTERM.
const family = `trap '' TERM; echo $$ > "$DIR/$JOBRUN_NAME-$JOBRUN_GENERATION"; sleep 600 & while :; do wait; sleep 1; done`

// groupOf waits for the process group in a file that family wrote.
func groupOf(dir, name string) int {
	GinkgoHelper()
	var group int
	Eventually(func() error {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		group, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err
	}).Should(Succeed())
	Expect(syscall.Kill(-group, 0)).To(Succeed())
	return group
}

func haveGone(group int) {
	GinkgoHelper()
	Eventually(func() bool { return errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) }).Should(BeTrue())
}

var _ = Describe("kubectl jobrun worker", func() {
	var dir string
	BeforeEach(func() {
		dir = GinkgoT().TempDir()
		GinkgoT().Setenv("DIR", dir)
	})

	It("runs a command for each run, and stores its output", func() {
		w := start("worker", "--job=sync", "--concurrency=2", "--", "sh", "-c", `
			case "$JOBRUN_NAME" in
			works) echo working; printf '{"input": %s,\n "tokens": [%s, %s]}\n' "$(cat)" "$JOBRUN_GENERATION" "$JOBRUN_KEY_VERSION" ;;
			says-nothing) echo nothing of note ;;
			fails) echo no such org >&2; exit 3 ;;
			*) kill -9 $$ ;;
			esac`)
		works := spec("k", 0)
		works.Input = &apiextensionsv1.JSON{Raw: []byte(`{"org":"acme","none":null}`)}
		trigger("works", works)
		outcome, err := runs.Wait(ctx, "works")
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Output.Raw).To(MatchJSON(
			`{"input":{"org":"acme","none":null},"tokens":[1,` + outcome.JobRun.Status.Lease.KeyVersion + `]}`))
		Eventually(w.stdout).Should(gbytes.Say(`\[works\] working`))
		trigger("says-nothing", spec("k", 0))
		Eventually(get("says-nothing")).Should(And(inPhase(v1alpha1.PhaseCompleted), HaveField("Status.Output", BeNil())))
		trigger("fails", spec("k", 0))
		Eventually(get("fails")).Should(And(inPhase(v1alpha1.PhaseFailed), HaveField("Status.Error", "exit code 3: no such org")))
		trigger("ends-by-a-signal", spec("k", 0))
		Eventually(get("ends-by-a-signal")).Should(And(inPhase(v1alpha1.PhaseFailed), HaveField("Status.Error", "signal: killed")))
		w.interrupt()
		w.ends(codeOK)
	})

	It("ends the process group of a run that is cancelled or loses its lease", func() {
		w := start("worker", "--job=sync", "--concurrency=2", "--grace-period=1s", "--", "sh", "-c", family)
		trigger("cancelled", spec("k", 0))
		trigger("lost", spec("l", 0))
		cancelled, lost := groupOf(dir, "cancelled-1"), groupOf(dir, "lost-1")
		Expect(runs.Cancel(ctx, "cancelled")).To(Succeed())
		Eventually(get("cancelled")).Should(inPhase(v1alpha1.PhaseCancelled))
		haveGone(cancelled)
		By("fencing the worker, as the operator does when a lease expires")
		run, err := get("lost")()
		Expect(err).NotTo(HaveOccurred())
		run.Status.Lease = &v1alpha1.RunLease{Generation: 2, KeyVersion: run.Status.Lease.KeyVersion}
		Expect(k8s.Status().Update(ctx, run)).To(Succeed())
		haveGone(lost)
		By("executing it again under the next generation, and giving it back when the worker ends")
		again := groupOf(dir, "lost-3")
		w.interrupt()
		w.ends(codeOK)
		haveGone(again)
		Eventually(get("lost")).Should(And(inPhase(v1alpha1.PhasePending), HaveField("Status.Lease.Generation", BeEquivalentTo(4)),
			HaveField("Status.Attempts", BeZero())))
	})

	It("lets a command finish within the grace period", func() {
		w := start("worker", "--job=sync", "--grace-period=1m", "--", "sh", "-c",
			`touch "$DIR/began"; while ! [ -e "$DIR/go" ]; do sleep 0.1; done; echo '"done"'`)
		trigger("a", spec("k", 0))
		Eventually(filepath.Join).WithArguments(dir, "began").Should(BeAnExistingFile())
		w.interrupt()
		trigger("b", spec("k", 0))
		Expect(os.WriteFile(filepath.Join(dir, "go"), nil, 0o600)).To(Succeed())
		w.ends(codeOK)
		Expect(get("a")()).To(And(inPhase(v1alpha1.PhaseCompleted), HaveField("Status.Output.Raw", MatchJSON(`"done"`))))
		Eventually(get("b")).Should(inPhase(v1alpha1.PhasePending))
		Expect(get("b")()).To(HaveField("Status.Lease", BeNil()))
	})
})

var _ = Describe("kubectl jobrun for scripts", func() {
	const nameAndGeneration = `-o=jsonpath={.metadata.name} {.status.lease.generation}`

	It("claims, renews, reports and completes", func() {
		kubectlJobrun(codeNothing, "claim", "--job=sync")
		waiting := start("claim", "--job=sync", "--wait", "--timeout=3m", nameAndGeneration)
		trigger("first", spec("k", 5))
		waiting.ends(codeOK)
		Expect(string(waiting.stdout.Contents())).To(Equal("first 1"))
		trigger("second", spec("k", 5))
		Eventually(get("second")).Should(inPhase(v1alpha1.PhasePending))
		By("not claiming a run whose key is leased")
		kubectlJobrun(codeNothing, "claim", "--job=sync")
		kubectlJobrun(codeNothing, "claim", "second")
		By("renewing for longer than leaseDurationSeconds")
		before, err := get("first")()
		Expect(err).NotTo(HaveOccurred())
		for range 16 {
			kubectlJobrun(codeOK, "renew", "first", "--generation=1", "--holder="+before.Status.Lease.HolderIdentity)
			Consistently(get("first")).WithTimeout(500 * time.Millisecond).Should(inPhase(v1alpha1.PhaseLeased))
		}
		after, err := get("first")()
		Expect(err).NotTo(HaveOccurred())
		Expect(after.Status.Lease.Generation).To(BeEquivalentTo(1))
		Expect(after.Status.Lease.RenewTime.Time).To(BeTemporally(">", before.Status.Lease.RenewTime.Time))
		kubectlJobrun(codeOK, "progress", "first", "--generation=1", "--current=3", "--total=10", "--message=rows")
		Expect(get("first")()).To(HaveField("Status.Progress.Message", "rows"))
		kubectlJobrun(codeOK, "complete", "first", "--generation=1", `--output={"rows": 10, "none": null}`)
		kubectlJobrun(codeOK, "complete", "first", "--generation=1")
		outcome, err := runs.Wait(ctx, "first")
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Output.Raw).To(MatchJSON(`{"rows":10,"none":null}`))
		By("claiming the next run of the key")
		Expect(kubectlJobrun(codeOK, "claim", "second", "--wait", "--timeout=3m")).To(Equal("jobrun.batch.jobrun.dev/second claimed, generation 1\n"))
		kubectlJobrun(codeOK, "fail", "second", "--generation=1", "--error=no such org")
		Eventually(get("second")).Should(And(inPhase(v1alpha1.PhaseFailed), HaveField("Status.Error", "no such org")))
	})

	It("gives back, and refuses a holder that lost its lease", func() {
		trigger("a", spec("k", 60))
		Expect(kubectlJobrun(codeOK, "claim", "--job=sync", "--wait", "--holder=one", nameAndGeneration)).To(Equal("a 1"))
		kubectlJobrun(codeOK, "release", "a", "--generation=1")
		Expect(kubectlJobrun(codeOK, "claim", "a", "--wait", "--holder=two", nameAndGeneration)).To(Equal("a 3"))
		for _, late := range [][]string{
			{"renew"}, {"progress", "--current=1"}, {"complete", "--output=1"}, {"fail", "--error=late"}, {"release"},
		} {
			kubectlJobrun(codeLost, append(late, "a", "--generation=1")...)
		}
		kubectlJobrun(codeLost, "complete", "a", "--generation=3", "--holder=one")
		By("exiting with another code if the output cannot be stored")
		kubectlJobrun(codeFailed, "complete", "a", "--generation=3", "--output=1e999")
		Expect(get("a")()).To(And(inPhase(v1alpha1.PhaseLeased), HaveField("Status.Lease.HolderIdentity", "two")))
		By("losing the lease when the run is cancelled")
		Expect(runs.Cancel(ctx, "a")).To(Succeed())
		kubectlJobrun(codeLost, "renew", "a", "--generation=3")
		kubectlJobrun(codeLost, "complete", "a", "--generation=3")
		Eventually(get("a")).Should(inPhase(v1alpha1.PhaseCancelled))
	})

	It("lets one of many claims succeed", func() {
		trigger("a", spec("k", 60))
		Eventually(get("a")).Should(inPhase(v1alpha1.PhasePending))
		const many = 10
		var all []*invocation
		for range many {
			all = append(all, start("claim", "--job=sync"))
		}
		codes := map[int]int{}
		for _, i := range all {
			var code int
			Eventually(i.code).Should(Receive(&code))
			codes[code]++
		}
		Expect(codes).To(Equal(map[int]int{codeOK: 1, codeNothing: many - 1}))
		Expect(get("a")()).To(HaveField("Status.Lease.Generation", BeEquivalentTo(1)))
	})
})
