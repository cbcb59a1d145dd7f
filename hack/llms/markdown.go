// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
)

// markdown is a document of the repository.
type markdown struct{ name, text string }

func readMarkdown(name string) (markdown, error) {
	text, err := os.ReadFile(name)
	return markdown{name, string(text)}, err
}

// under returns what stands under a heading, to the next one.
func (m markdown) under(heading string) (string, error) {
	_, text, found := strings.Cut(m.text, heading+"\n")
	if !found {
		return "", fmt.Errorf("%s has no heading %q", m.name, heading)
	}
	text, _, _ = strings.Cut(text, "\n#")
	return strings.TrimSpace(text), nil
}

// paragraphAfter returns the first paragraph under a heading, as one line.
func (m markdown) paragraphAfter(heading string) (string, error) {
	text, err := m.under(heading)
	paragraph, _, _ := strings.Cut(text, "\n\n")
	return oneLine(paragraph), err
}

// items returns the items of the list under a heading, each as one line.
func (m markdown) items(heading string) ([]string, error) {
	text, err := m.under(heading)
	list, _, _ := strings.Cut(text, "\n\n")
	var items []string
	for item := range strings.SplitSeq("\n"+list, "\n- ") {
		if item != "" {
			items = append(items, m.relative(oneLine(item)))
		}
	}
	return items, err
}

// rows returns the rows of the first table under a heading, without its head: "first cell: the others".
func (m markdown) rows(heading string) ([]string, error) {
	text, err := m.under(heading)
	_, table, _ := strings.Cut("\n"+text, "\n|")
	table, _, _ = strings.Cut(table, "\n\n")
	var rows []string
	for i, line := range strings.Split(table, "\n") {
		if i < 2 {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		rows = append(rows, m.relative(cells[0]+": "+strings.Join(cells[1:], ". ")))
	}
	return rows, err
}

// relative makes the links of a document at the root lead from docs.
func (m markdown) relative(text string) string {
	if strings.Contains(m.name, "/") {
		return text
	}
	text = strings.ReplaceAll(text, "](docs/", "](")
	return strings.ReplaceAll(text, "](#", "](../"+m.name+"#")
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
