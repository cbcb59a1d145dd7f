// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package text

import "strings"

// Nearest returns the name that a misspelt word most likely means: one that begins with the word, or with which the word begins,
// or else the one with the fewest edits between them. Of several, it returns the first. It returns "" without names.
func Nearest(word string, names []string) string {
	nearest, least := "", -1
	for _, name := range names {
		if least >= 0 && max(len(name)-len(word), len(word)-len(name)) >= least && !related(word, name) {
			continue // There are at least as many edits as the lengths differ.
		}
		edits := distance(word, name)
		if related(word, name) {
			edits = 0
		}
		if least < 0 || edits < least {
			nearest, least = name, edits
		}
	}
	return nearest
}

// related reports whether one text begins with the other one, and both have some letters.
func related(a, b string) bool {
	return min(len(a), len(b)) >= 3 && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}

// distance is the edit distance of Levenshtein, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
