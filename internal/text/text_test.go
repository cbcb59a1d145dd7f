// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCut(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"shorter":                {"abc", 4, "abc"},
		"as long":                {"abcd", 4, "abcd"},
		"longer":                 {"abcde", 4, "abcd"},
		"between runes":          {"aé", 3, "aé"},
		"in a rune":              {"aé", 2, "a"},
		"in a rune of four":      {"💥💥", 7, "💥"},
		"in the first rune":      {"💥", 3, ""},
		"to nothing":             {"abc", 0, ""},
		"no text":                {"", 0, ""},
		"bytes that are no rune": {"\x80\x80\x80", 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Cut(tc.text, tc.limit); got != tc.want {
				t.Errorf("Cut(%q, %d) = %q, want %q", tc.text, tc.limit, got, tc.want)
			}
		})
	}
}

func TestMiddle(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"shorter":    {"abc", 4, "abc"},
		"as long":    {"abcd", 4, "abcd"},
		"even":       {"abcdef", 4, "ab…f"},
		"odd":        {"abcdef", 5, "ab…ef"},
		"the least":  {"abcdef", 3, "a…f"},
		"runes":      {"鍵鍵鍵鍵鍵鍵", 5, "鍵鍵…鍵鍵"},
		"runes, fit": {"鍵鍵鍵鍵", 4, "鍵鍵鍵鍵"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Middle(tc.text, tc.limit); got != tc.want {
				t.Errorf("Middle(%q, %d) = %q, want %q", tc.text, tc.limit, got, tc.want)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"shorter":       {"abc", 4, "abc"},
		"as long":       {"abcd", 4, "abcd"},
		"longer":        {"abcde", 4, "bcde"},
		"between runes": {"éa", 1, "a"},
		"in a rune":     {"éa", 2, "a"},
		"no rune fits":  {"💥", 3, ""},
		"to nothing":    {"abc", 0, ""},
		"no text":       {"", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := End(tc.text, tc.limit); got != tc.want {
				t.Errorf("End(%q, %d) = %q, want %q", tc.text, tc.limit, got, tc.want)
			}
		})
	}
}

func FuzzCut(f *testing.F) {
	f.Add("", uint16(0))
	f.Add("aé💥", uint16(4))
	f.Add("\x80\xff", uint16(1))
	f.Fuzz(func(t *testing.T, text string, limit16 uint16) {
		limit := int(limit16)
		got := Cut(text, limit)
		if len(got) > limit || !strings.HasPrefix(text, got) {
			t.Fatalf("Cut(%q, %d) = %q", text, limit, got)
		}
		if utf8.ValidString(text) && (!utf8.ValidString(got) || len(text)-len(got) >= utf8.UTFMax && limit-len(got) >= utf8.UTFMax) {
			t.Fatalf("Cut(%q, %d) = %q: a rune is split or there was room for more", text, limit, got)
		}
	})
}

func TestOneLine(t *testing.T) {
	for name, tc := range map[string]struct{ message, want string }{
		"one line": {"no quota", "no quota"},
		"many":     {"  no\n\tquota \r\n at all ", "no quota at all"},
		"nothing":  {" \n ", ""},
		"too long": {strings.Repeat("é", 600), strings.Repeat("é", 512)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := OneLine(tc.message, 1024); got != tc.want {
				t.Errorf("OneLine(%.40q) = %.40q, want %.40q", tc.message, got, tc.want)
			}
		})
	}
}
