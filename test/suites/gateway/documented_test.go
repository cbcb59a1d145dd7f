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
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// block is a block of code in a page: its language and its text.
var block = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// example is a command of a page, and the output that follows it.
type example struct{ command, output string }

// examplesIn returns the blocks of shell commands that a block of JSON or text follows at once.
func examplesIn(page string) []example {
	var found []example
	blocks := block.FindAllStringSubmatchIndex(page, -1)
	for i := 1; i < len(blocks); i++ {
		before, at := blocks[i-1], blocks[i]
		language := page[at[2]:at[3]]
		if page[before[2]:before[3]] == "sh" && (language == "json" || language == "text") && page[before[1]:at[0]] == "\n\n" {
			found = append(found, example{page[before[4]:before[5]], page[at[4]:at[5]]})
		}
	}
	return found
}

// random are the parts of an output that differ each time.
var random = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`(sync|deploy)-[a-z0-9]{10}`), "${1}-NAME"},
	{regexp.MustCompile(`(?m)^(id|retry): \d+$`), "${1}: NUMBER"},
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

// defineDocumented stores the JobDefinition of a page, and its Secret, and waits until the gateway knows both.
func defineDocumented(page string) {
	GinkgoHelper()
	definition := &v1alpha1.JobDefinition{}
	for _, found := range block.FindAllStringSubmatch(page, -1) {
		if found[1] == "yaml" && strings.Contains(found[2], "kind: JobDefinition") {
			Expect(yaml.UnmarshalStrict([]byte(found[2]), definition)).To(Succeed())
		}
	}
	definition.Namespace = ns
	Expect(k8s.Create(ctx, definition)).To(Succeed())
	receiver := definition.Spec.Receivers[0]
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: receiver.SecretRef.Name, Labels: forReceivers}}
	secret.StringData = map[string]string{receiver.SecretRef.Key: sharedSecret}
	Expect(k8s.Create(ctx, secret)).To(Succeed())
	path := "/v1/hooks/NS/" + definition.Name + "/" + receiver.Name
	Eventually(func() int {
		return gate.send("", "POST", path, "{}", "X-Hub-Signature-256", hub(sharedSecret, "{}"), "X-GitHub-Event", "ping").code
	}).Should(Equal(200))
}

var _ = Describe("docs/gateway.md", func() {
	It("has the output of each example", func() {
		page, err := os.ReadFile(checkout.Path("docs", "gateway.md"))
		Expect(err).NotTo(HaveOccurred())
		examples := examplesIn(string(page))
		Expect(len(examples)).To(BeNumerically(">=", 9))
		defineDocumented(string(page))
		logging := startLogging("synced 40 users\n", "synced 41 users\n", "synced 42 users\n")
		var wrong []string
		for _, found := range examples {
			command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(found.command, "team-a", ns))
			command.Env = append(os.Environ(), "GATEWAY="+gate.url, "AUTH=Authorization: Bearer "+editor, "RUN="+logging, "SECRET="+sharedSecret)
			output, err := command.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(output))
			if withoutRandom(string(output)) != withoutRandom(found.output) {
				wrong = append(wrong, found.command+"prints\n"+string(output))
			}
		}
		Expect(wrong).To(BeEmpty(), strings.Join(wrong, "\n"))
	})
})
