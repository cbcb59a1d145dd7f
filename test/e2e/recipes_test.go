// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// These specs execute docs/recipes.md as it stands.
var _ = Describe("The recipe", Label(local), func() {
	BeforeEach(useNamespace)

	It("for a CronJob triggers one run per tick", func() {
		succeeded(tryWith(documentedIn("recipes.md", "yaml", "kind: CronJob\n"), "apply", "-f", "-"))
		kubectl("create", "job", "try", "--from=cronjob/nightly")
		kubectl("wait", "--for=condition=Complete", "job/try", "--timeout=60s")
		var runs v1alpha1.JobRunList
		Expect(k8s.List(ctx, &runs, client.InNamespace(ns))).To(Succeed())
		Expect(runs.Items).To(ConsistOf(And(HaveField("Spec.JobName", "nightly"), HaveField("Spec.IdempotencyKey", "try"))))
		wait(runs.Items[0].Name, "Complete")
	})

	It("for curl shows the warning of a receipt, and the conflict", func() {
		script := documentedIn("recipes.md", "sh", "-D headers")
		config, err := clientcmd.BuildConfigFromFlags("", plane.AdminKubeconfig())
		Expect(err).NotTo(HaveOccurred())
		kubectl("create", "serviceaccount", "caller")
		kubectl("create", "rolebinding", "caller", "--clusterrole=edit", "--serviceaccount="+ns+":caller")
		token := kubectl("create", "token", "caller")
		dir := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "ca.crt"), config.CAData, 0o600)).To(Succeed())
		trigger := func(m manifest) string {
			GinkgoHelper()
			Expect(os.WriteFile(filepath.Join(dir, "run.yaml"), []byte(asYAML(m)), 0o600)).To(Succeed())
			command := exec.CommandContext(ctx, "sh", "-c", script)
			command.Dir = dir
			command.Env = append(os.Environ(), "SERVER="+config.Host, "TOKEN="+token, "NAMESPACE="+ns)
			output, err := command.Output()
			Expect(err).NotTo(HaveOccurred(), "%s", output)
			return string(output)
		}
		Eventually(trigger).WithArguments(workerRun("first").of("sync-users").key("org_acme")).Should(Equal("201\nCreated, run first\n"))
		Expect(trigger(workerRun("second").of("sync-users").key("org_acme").skip())).To(Equal("201\n" +
			"warning: 299 - \"jobrun second coalesced: run first already waits for job \\\"sync-users\\\", concurrencyKey \\\"org_acme\\\" " +
			"and stands for this trigger\"\r\nCoalesced, run first\n"))
		Expect(trigger(workerRun("third").of("sync-users").key("org_acme"))).To(MatchRegexp(
			`^409\nadmission webhook .* run first is pending for job "sync-users", concurrencyKey "org_acme"\n$`))
	})
})
