// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

var proxyAddress = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

var _ = Describe("examples/worker.py", Label(local), func() {
	BeforeEach(useNamespace)

	// python starts the worker for a job.
	python := func(job string, env []string, args ...string) *gexec.Session {
		GinkgoHelper()
		python3, err := exec.LookPath("python3")
		Expect(err).NotTo(HaveOccurred(), "run `make test-e2e`, which installs it")
		command := exec.CommandContext(ctx, python3, append([]string{checkout.Path("examples", "worker.py"), "--job=" + job}, args...)...)
		command.Env = append(os.Environ(), env...)
		session, err := gexec.Start(command, GinkgoWriter, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { session.Kill().Wait() })
		return session
	}
	// rows makes a run of that many rows. The worker needs a tenth of a second for each.
	rows := func(name, rows string) manifest {
		return workerRun(name).of("rows").key(name).input(`{"rows": ` + rows + `}`).leaseFor(leaseSeconds)
	}

	It("completes, fails, stops and gives back, through kubectl proxy", func() {
		proxy := exec.CommandContext(ctx, kubectlPath, "--kubeconfig="+workersKubeconfig(), "proxy", "--port=0")
		output, err := proxy.StdoutPipe()
		Expect(err).NotTo(HaveOccurred())
		Expect(proxy.Start()).To(Succeed())
		DeferCleanup(func() { _ = proxy.Process.Kill(); _ = proxy.Wait() })
		line, err := bufio.NewReader(output).ReadString('\n')
		Expect(err).NotTo(HaveOccurred())
		through := []string{"--server=http://" + proxyAddress.FindString(line), "--namespace=" + ns}

		By("completing, with progress")
		first := python("rows", nil, append(through, "--name=first")...)
		apply(rows("good", "3"))
		wait("good", "Complete")
		Expect(get("good").Status).To(And(
			HaveField("Output.Raw", MatchJSON(`{"rows": 3}`)), HaveField("Lease.HolderIdentity", "first"),
			HaveField("Progress", HaveValue(And(HaveField("Current", HaveValue(BeEquivalentTo(3))), HaveField("Message", "rows"))))))

		By("failing")
		apply(rows("bad", "-1"))
		wait("bad", "Failed")
		Expect(get("bad").Status.Error).To(Equal("ValueError: rows must not be negative"))

		By("stopping a run that is cancelled")
		apply(rows("cancelled", "100000"))
		wait("cancelled", "Leased")
		Expect(plugin("cancel", "cancelled", "--wait")).To(HaveField("Code", codeOK))
		Eventually(first.Err).Should(gbytes.Say("cancelled: it (was cancelled|has ended)"))

		By("renewing for longer than the lease, and giving back at SIGTERM")
		apply(rows("handed", "100000"))
		wait("handed", "Leased")
		acquired := get("handed").Status.Lease.AcquireTime.Time
		Eventually(func() float64 {
			return get("handed").Status.Lease.RenewTime.Sub(acquired).Seconds()
		}).Should(BeNumerically(">", leaseSeconds))
		Expect(get("handed").Status.Lease.Generation).To(BeEquivalentTo(1))
		first.Signal(syscall.SIGTERM)
		Eventually(first).Should(gexec.Exit(0))
		Eventually(get).WithArguments("handed").Should(And(
			HaveField("Status.Phase", v1alpha1.PhasePending), HaveField("Status.Lease.Generation", BeEquivalentTo(2)),
			HaveField("Status.Attempts", BeZero())))

		By("handing the run over to another worker")
		second := python("rows", nil, append(through, "--name=second")...)
		Eventually(get).WithArguments("handed").Should(HaveField("Status.Lease", HaveValue(And(
			HaveField("HolderIdentity", "second"), HaveField("Generation", BeEquivalentTo(3))))))
		Eventually(second.Err).Should(gbytes.Say("handed: claimed, generation 3"))
	})

	It("uses the ServiceAccount of its Pod", func() {
		config, err := clientcmd.BuildConfigFromFlags("", workersKubeconfig())
		Expect(err).NotTo(HaveOccurred())
		account := GinkgoT().TempDir()
		for name, content := range map[string][]byte{"token": []byte(config.BearerToken), "ca.crt": config.CAData, "namespace": []byte(ns)} {
			Expect(content).NotTo(BeEmpty(), name)
			Expect(os.WriteFile(filepath.Join(account, name), content, 0o600)).To(Succeed())
		}
		server, err := url.Parse(config.Host)
		Expect(err).NotTo(HaveOccurred())
		inPod := []string{"KUBERNETES_SERVICE_HOST=" + server.Hostname(), "KUBERNETES_SERVICE_PORT=" + server.Port()}
		idle := python("rows", inPod, "--account="+account)
		apply(rows("good", "0"))
		wait("good", "Complete")
		idle.Signal(syscall.SIGTERM)
		Eventually(idle).Should(gexec.Exit(0))
	})
})
