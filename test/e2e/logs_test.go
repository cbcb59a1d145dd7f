// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// logLine is what docs/operations.md tells about a line of a manager's log.
type logLine struct {
	Time      string   `json:"ts"`
	Message   string   `json:"msg"`
	Step      string   `json:"step"`
	Namespace string   `json:"namespace"`
	Run       string   `json:"run"`
	JobName   string   `json:"jobName"`
	Key       string   `json:"key"`
	Wrote     []string `json:"wrote"`
}

var _ = Describe("The managers' logs", Label("local"), func() {
	BeforeEach(useNamespace)

	// grep returns the lines of all managers that name a JobRun of this namespace, in the order of their times.
	grep := func(name string) []logLine {
		GinkgoHelper()
		word := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`)
		var found []logLine
		for _, m := range jobrun.Managers() {
			log, err := os.ReadFile(m.LogFile)
			Expect(err).NotTo(HaveOccurred())
			for text := range strings.SplitSeq(string(log), "\n") {
				var line logLine
				if word.MatchString(text) && json.Unmarshal([]byte(text), &line) == nil && line.Namespace == ns {
					found = append(found, line)
				}
			}
		}
		slices.SortFunc(found, func(a, b logLine) int { return strings.Compare(a.Time, b.Time) })
		return found
	}

	It("tell one run's life by one grep", func() {
		apply(run("life-a", `sleep 3; echo '{"secret": 42}' > "$result"`).key("acme"))
		Eventually(func() string { return string(get("life-a").Status.Phase) }).Should(Equal("Leased"))
		apply(run("life-b", `echo '{"secret": 42}' > "$result"`).key("acme").skip())
		succeeded(tryApply(run("life-c", quick).key("acme").skip()))
		wait("life-b", "Complete")
		wait("life-c", "Complete")

		var life []string
		Eventually(func() []string {
			life = nil
			for _, line := range grep("life-b") {
				life = append(life, strings.Join(append([]string{line.Message, line.Step, line.Run}, line.Wrote...), " | "))
				Expect(line.JobName).To(Equal(job))
				Expect(line.Key).To(Equal("acme"))
			}
			return life
		}).Should(ContainElement(MatchRegexp(`JobRun life-b: Completed`)))
		Expect(strings.Join(life, "\n")).To(MatchRegexp(strings.Join([]string{
			`(?s)^Admitted a trigger \|  \| life-b`,
			`Carried out a plan \| announce-pending \| life-b \| JobRun life-b: Pending`,
			`Carried out a plan \| count-receipts \| life-b \| JobRun life-b: Pending, count 1 \[life-c\]`,
			`Carried out a plan \| follow-lease \| life-a \| JobRun life-a: Completed, .* \| RunKey c-\w+: leased=life-b g1<\d+` +
				` \| Job life-b-1: created \| JobRun life-b: Leased, g1`,
			`Carried out a plan \| follow-lease \| life-b \| JobRun life-b: Completed, .*, output of 14 bytes \| RunKey c-\w+: free`,
		}, ".*\n")))
		Expect(life).To(ContainElement("Admitted a trigger |  | life-c"))
		for _, line := range life {
			Expect(line).NotTo(ContainSubstring("secret"))
		}
	})
})
