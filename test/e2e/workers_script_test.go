// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// scriptPatience is longer than the script sleeps between two renewals.
const scriptPatience = 30 * time.Second

var _ = Describe("The script of docs/workers.md", Label(local), func() {
	BeforeEach(useNamespace)

	It("completes, fails and loses runs with a worker's rights", func() {
		script := documented("sh", "make-report")
		kubeconfig := workersKubeconfig()
		succeeded(runKubectl("", "--kubeconfig="+kubeconfig, "config", "set-context", "--current", "--namespace="+ns))
		// scripted executes the runs of a job with the script, in which make-report is this.
		scripted := func(job, makeReport string) *gexec.Session {
			dir := GinkgoT().TempDir()
			Expect(os.WriteFile(filepath.Join(dir, "make-report"), []byte("#!/bin/sh\n"+makeReport), 0o755)).To(Succeed())
			kubectl, err := filepath.Abs(kubectlPath)
			Expect(err).NotTo(HaveOccurred())
			plugins := checkout.Path("bin")
			Expect(os.Symlink(kubectl, filepath.Join(dir, "kubectl"))).To(Succeed())
			command := exec.CommandContext(ctx, "sh", "-c", strings.Replace(script, "--job report", "--job "+job, 1))
			command.Dir = dir
			command.Env = slices.Concat(kubectlEnv, []string{
				"KUBECONFIG=" + kubeconfig, "PATH=" + dir + ":" + plugins + ":" + os.Getenv("PATH"),
			})
			session, err := gexec.Start(command, GinkgoWriter, GinkgoWriter)
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(func() { session.Kill() })
			return session
		}
		good := scripted("good", `echo '{"rows": 10}'`)
		bad := scripted("bad", "echo no such org >&2; exit 1")
		late := scripted("late", "exec sleep 600")
		for _, name := range []string{"good", "bad", "late"} {
			apply(workerRun(name).of(name).key(name))
		}
		wait("late", "Leased")
		By("fencing the third one, as the operator does when a lease expires")
		run := get("late")
		run.Status.Lease = &v1alpha1.RunLease{Generation: 2, KeyVersion: run.Status.Lease.KeyVersion}
		Expect(k8s.Status().Update(ctx, &run)).To(Succeed())

		Eventually(late).WithTimeout(scriptPatience).Should(gexec.Exit(6))
		Eventually(good).WithTimeout(scriptPatience).Should(gexec.Exit(0))
		Eventually(bad).WithTimeout(scriptPatience).Should(gexec.Exit(0))
		Expect(get("good").Status).To(And(HaveField("Phase", v1alpha1.PhaseCompleted), HaveField("Output.Raw", MatchJSON(`{"rows": 10}`))))
		Expect(get("bad").Status).To(And(HaveField("Phase", v1alpha1.PhaseFailed), HaveField("Error", "no such org")))
		Expect(get("late").Status).To(HaveField("Phase", v1alpha1.PhasePending))
	})
})
