// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// TestLinksLead checks that each relative link of the repository's Markdown leads to a file, and to a heading if it names
// one. Addresses of other sites are not asked.
func TestLinksLead(t *testing.T) {
	documents := documentNames(t)
	if len(documents) < 10 {
		t.Fatalf("found only %v: has the layout changed?", documents)
	}
	for _, document := range documents {
		text := read(t, document)
		for _, target := range links(text) {
			if problem := follow(document, text, target); problem != "" {
				t.Errorf("%s: the link %q %s", document, target, problem)
			}
		}
	}
}

func TestWrongLinksDoNotLead(t *testing.T) {
	const text = "# A page\n[file](missing.md) [heading](#a-page) [no](#another) [there](design.md#no-such-heading)\n```\n[code](x)\n```\n"
	var wrong []string
	for _, target := range links(text) {
		if follow("docs/page.md", text, target) != "" {
			wrong = append(wrong, target)
		}
	}
	if want := []string{"missing.md", "#another", "design.md#no-such-heading"}; !slices.Equal(wrong, want) {
		t.Errorf("complains about %q, want %q", wrong, want)
	}
}

// TestIndexNamesEachDocument checks that docs/README.md leads to each page of docs/.
func TestIndexNamesEachDocument(t *testing.T) {
	named := links(read(t, "docs/README.md"))
	for _, document := range documentNames(t) {
		page, ofDocs := strings.CutPrefix(document, "docs/")
		if !ofDocs || page == "README.md" {
			continue
		}
		if !slices.ContainsFunc(named, func(target string) bool { return strings.Split(target, "#")[0] == page }) {
			t.Errorf("docs/README.md does not lead to %s", document)
		}
	}
}

// documentNames returns the Markdown files of the repository, relative to its root.
func documentNames(t *testing.T) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md")
	command.Dir = checkout.Path()
	output, err := command.Output()
	if err != nil {
		t.Fatal("list the documents: ", err)
	}
	return strings.Fields(string(output))
}

func read(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(checkout.Path(document))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// follow returns what is wrong with a link of a document, or nothing.
func follow(document, text, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	path, anchor, _ := strings.Cut(target, "#")
	if path != "" {
		file := checkout.Path(filepath.Join(filepath.Dir(document), path))
		if _, err := os.Stat(file); err != nil {
			return "leads to no file"
		}
		if anchor == "" {
			return ""
		}
		other, err := os.ReadFile(file)
		if err != nil {
			return "has an anchor, but leads to no page"
		}
		text = string(other)
	}
	if !slices.Contains(anchors(text), anchor) {
		return "leads to no heading"
	}
	return ""
}

var (
	codeBlock  = regexp.MustCompile("(?ms)^ *```.*?^ *```[ \t]*$")
	codeSpan   = regexp.MustCompile("`[^`\n]*`")
	inlineLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *#*$`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	namedPlace = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	unslugged  = regexp.MustCompile(`[^\p{L}\p{N}\p{Mn}\p{Pc} -]`)
)

// links returns the targets of a document's links, in order.
func links(text string) []string {
	text = codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(text, ""), "")
	var targets []string
	for _, match := range inlineLink.FindAllStringSubmatch(text, -1) {
		targets = append(targets, match[1])
	}
	return targets
}

// anchors returns the anchors of a page, as GitHub makes them: the heading in lower case without punctuation, a hyphen for each
// space, and a number if an earlier heading has the same.
func anchors(text string) []string {
	var found []string
	seen := map[string]int{}
	text = codeBlock.ReplaceAllString(text, "")
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		title := linkText.ReplaceAllString(match[1], "$1")
		slug := strings.ReplaceAll(unslugged.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
		anchor := slug
		if n := seen[slug]; n > 0 {
			anchor = fmt.Sprintf("%s-%d", slug, n)
		}
		seen[slug]++
		found = append(found, anchor)
	}
	for _, match := range namedPlace.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}
