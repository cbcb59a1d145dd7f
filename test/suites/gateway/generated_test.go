// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// generated writes a client that is generated from a document into dir, and returns the file with go's overlay that puts it into the
// module of test/harness/generatedclient.
func generated(module, dir, document string) (overlay string) {
	GinkgoHelper()
	source := filepath.Join(dir, "client.gen.go")
	generator := exec.CommandContext(ctx, "go", "tool", "oapi-codegen", "-config", "client.yaml", "-o", source, document)
	generator.Dir = module
	output, err := generator.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(module, "client", "client.gen.go"): source}})
	Expect(err).NotTo(HaveOccurred())
	overlay = filepath.Join(dir, "overlay.json")
	Expect(os.WriteFile(overlay, text, 0o600)).To(Succeed())
	return overlay
}

var _ = Describe("a client that is generated from /openapi.json", func() {
	It("triggers, is refused, lists, reads and cancels", func() {
		module, dir := checkout.Path("test", "harness", "generatedclient"), GinkgoT().TempDir()
		document := filepath.Join(dir, "openapi.json")
		Expect(os.WriteFile(document, []byte(gate.send("", "GET", "/openapi.json", "").body), 0o600)).To(Succeed())
		program := exec.CommandContext(ctx, "go", "run", "-overlay", generated(module, dir, document), ".", document)
		program.Dir = module
		program.Env = append(os.Environ(), "GATEWAY="+gate.url, "TOKEN="+editor, "NAMESPACE="+ns, "JOB="+job)
		program.Stderr = GinkgoWriter
		output, err := program.Output()
		Expect(err).NotTo(HaveOccurred(), string(output))
		all := jobRuns()
		Expect(all).To(HaveLen(2))
		run := all[0].Spec.Admission.RunName
		Expect(string(output)).To(Equal("Created " + run + "\nCoalesced " + run + "\nConflict PendingRun " + run +
			"\nlisted 2\ngot " + run + " k\ncancelled Success\nmissing NotFound 404\n"))
		Expect(stored(run).Spec.Cancel).To(HaveValue(BeTrue()))
	})
})
