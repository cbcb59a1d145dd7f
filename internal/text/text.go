// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package text shortens text to fit fields of bounded length and columns, and JSON to fit decoders.
package text

import (
	"strings"
	"unicode/utf8"
)

// Cut shortens text to at most limit bytes without splitting a rune.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// OneLine folds white space and shortens the text to at most limit bytes.
func OneLine(text string, limit int) string {
	return Cut(strings.Join(strings.Fields(text), " "), limit)
}

// End shortens text to its last limit bytes at most without splitting a rune.
func End(text string, limit int) string {
	start := max(len(text)-limit, 0)
	for start < len(text) && !utf8.RuneStart(text[start]) {
		start++
	}
	return text[start:]
}

// Middle shortens text to at most limit runes. An ellipsis takes the place of its middle. limit is at least 3.
func Middle(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	end := (limit - 1) / 2
	return string(runes[:limit-1-end]) + "…" + string(runes[len(runes)-end:])
}
