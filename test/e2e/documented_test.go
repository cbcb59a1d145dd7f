package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// documented is the YAML of docs/workers.md that has a line.
func documented(line string) string {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "workers.md"))
	Expect(err).NotTo(HaveOccurred())
	for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], line+"\n") {
			return block[1]
		}
	}
	Fail(fmt.Sprintf("docs/workers.md has no YAML with %q", line))
	return ""
}
