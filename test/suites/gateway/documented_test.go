// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"os"
	"os/exec"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// example is a command of docs/gateway.md, and the output that follows it.
var example = regexp.MustCompile("(?s)```sh\n(.*?)```\n\n```json\n(.*?)```")

// random are the parts of an output that differ each time.
var random = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`sync-[a-z0-9]{10}`), "sync-NAME"},
	{regexp.MustCompile(`"keyVersion":"\d+"`), `"keyVersion":"VERSION"`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`team-a|spec-[a-z0-9]{5}`), "NAMESPACE"},
}

func withoutRandom(text string) string {
	for _, part := range random {
		text = part.pattern.ReplaceAllString(text, part.by)
	}
	return strings.TrimSpace(text)
}

var _ = Describe("docs/gateway.md", func() {
	It("has the output of each example", func() {
		page, err := os.ReadFile(checkout.Path("docs", "gateway.md"))
		Expect(err).NotTo(HaveOccurred())
		examples := example.FindAllStringSubmatch(string(page), -1)
		Expect(len(examples)).To(BeNumerically(">=", 8))
		var wrong []string
		for _, found := range examples {
			command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(found[1], "team-a", ns))
			command.Env = append(os.Environ(), "GATEWAY="+gate.url, "AUTH=Authorization: Bearer "+editor)
			output, err := command.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(output))
			if withoutRandom(string(output)) != withoutRandom(found[2]) {
				wrong = append(wrong, found[1]+"prints\n"+string(output))
			}
		}
		Expect(wrong).To(BeEmpty(), strings.Join(wrong, "\n"))
	})
})
