// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

var codeBlock = regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```")

// documented returns the code block of docs/workers.md that has the language and contains the text.
func documented(language, part string) string {
	GinkgoHelper()
	return documentedIn("workers.md", language, part)
}

// documentedIn returns the code block of a page of docs that has the language and contains the text.
func documentedIn(page, language, part string) string {
	GinkgoHelper()
	text, err := os.ReadFile(checkout.Path("docs", page))
	Expect(err).NotTo(HaveOccurred())
	for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
		if block[1] == language && strings.Contains(block[2], part) {
			return block[2]
		}
	}
	Fail(fmt.Sprintf("docs/%s has no %s with %q", page, language, part))
	return ""
}
