// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// compiled returns the JavaScript of examples/gateway/trigger.ts. The compiler checks its types.
func compiled() string {
	GinkgoHelper()
	modules := checkout.Path("bin", "eventsource", "node_modules")
	Expect(filepath.Join(modules, "typescript")).To(BeADirectory(), "run `make eventsource`, which installs it")
	dir := GinkgoT().TempDir()
	Expect(os.Symlink(modules, filepath.Join(dir, "node_modules"))).To(Succeed())
	Expect(os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type": "module"}`), 0o600)).To(Succeed())
	source, err := os.ReadFile(checkout.Path("examples", "gateway", "trigger.ts"))
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(dir, "trigger.ts"), source, 0o600)).To(Succeed())
	compiler := exec.CommandContext(ctx, "node", filepath.Join(modules, "typescript", "bin", "tsc"),
		"--strict", "--noEmitOnError", "--module", "nodenext", "--target", "es2023", "--types", "node", "trigger.ts")
	compiler.Dir = dir
	output, err := compiler.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	return filepath.Join(dir, "trigger.js")
}

var _ = DescribeTable("the example", func(follows bool, command func() []string) {
	words := command()
	start := func(trigger string) *gexec.Session {
		program := exec.CommandContext(ctx, words[0], append(words[1:], job, trigger)...)
		program.Env = append(os.Environ(), "GATEWAY="+gate.url, "NAMESPACE="+ns, "TOKEN="+editor,
			"INSECURE=1", "NODE_TLS_REJECT_UNAUTHORIZED=0", "NODE_NO_WARNINGS=1")
		session, err := gexec.Start(program, GinkgoWriter, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { session.Kill().Wait() })
		return session
	}
	first := start(keyed)
	Eventually(jobRuns).Should(HaveLen(1))
	run := jobRuns()[0].Name
	if follows {
		Eventually(first.Out).Should(gbytes.Say("Created " + run))
		Eventually(first.Out).Should(gbytes.Say("run:trigger"))
	}
	refusal := start(keyed)
	Eventually(refusal).WithTimeout(patience).Should(gexec.Exit())
	Expect(refusal.ExitCode()).NotTo(BeZero())
	Expect(refusal.Err).To(gbytes.Say(run)) // the one that waits
	absorbed := start(`{"concurrencyKey":"k","coalesce":"Skip"}`)
	Eventually(jobRuns).Should(HaveLen(2))
	complete(run, `{"users":42}`)
	for _, session := range []*gexec.Session{first, absorbed} {
		Eventually(session).WithTimeout(patience).Should(gexec.Exit(0))
		Expect(session.Out).To(gbytes.Say(`{"users": ?42}`))
	}
},
	Entry("in curl", false, func() []string { return []string{checkout.Path("examples", "gateway", "trigger.sh")} }),
	Entry("in Python", true, func() []string { return []string{"python3", checkout.Path("examples", "gateway", "trigger.py")} }),
	Entry("in TypeScript", true, func() []string { return []string{"node", compiled()} }),
)
