// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package changelog finds the notes of a release in CHANGELOG.md.
package changelog

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const unreleased = "Unreleased"

// section is what stands under one heading of the second level.
type section struct{ heading, text string }

// Notes returns the section of a version, without its heading. The heading is "## v1.2.3", "## 1.2.3" or "## [1.2.3]", and may have
// a date behind it. Notes fails if there is no such section, if it says nothing, or if "Unreleased" still says something.
func Notes(changelog, version string) (string, error) {
	sections := split(changelog)
	var found *section
	for i, s := range sections {
		switch {
		case s.heading == unreleased && s.text != "":
			if len(sections) == 1 {
				return "", fmt.Errorf("CHANGELOG.md has no section but %q: rename it to \"## %s\"", unreleased, version)
			}
			return "", fmt.Errorf("CHANGELOG.md still has entries under %q: move them to \"## %s\"", unreleased, version)
		case names(s.heading, version):
			found = &sections[i]
		}
	}
	if found == nil {
		return "", fmt.Errorf("CHANGELOG.md has no section \"## %s\": rename %q to it", version, unreleased)
	}
	if found.text == "" {
		return "", errors.New("CHANGELOG.md says nothing under \"## " + found.heading + "\"")
	}
	return found.text + "\n", nil
}

func split(changelog string) []section {
	var sections []section
	for part := range strings.SplitSeq("\n"+changelog, "\n## ") {
		heading, text, _ := strings.Cut(part, "\n")
		sections = append(sections, section{heading: strings.TrimSpace(heading), text: strings.TrimSpace(text)})
	}
	return sections[1:] // The first part is the introduction.
}

// names reports whether a heading is that of a version.
func names(heading, version string) bool {
	name, _, _ := strings.Cut(heading, " ")
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	return name == version || name == strings.TrimPrefix(version, "v")
}

// link is a link to a file of the repository, or to a place in CHANGELOG.md.
var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// Absolute makes the links of a section independent of its place. base is the address of the repository's files, with a slash
// at its end.
func Absolute(notes, base string) string {
	return link.ReplaceAllStringFunc(notes, func(match string) string {
		target := link.FindStringSubmatch(match)[1]
		switch {
		case strings.Contains(target, "://"), strings.HasPrefix(target, "mailto:"):
			return match
		case strings.HasPrefix(target, "#"):
			target = "CHANGELOG.md" + target
		}
		return "](" + base + target + ")"
	})
}
