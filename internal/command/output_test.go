// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"strings"
	"testing"
	"time"
)

func outputOf(t *testing.T, text string) (string, error) {
	t.Helper()
	kept := &tail{limit: MaxOutput}
	for len(text) > 0 {
		n := min(len(text), 1000)
		if _, err := kept.Write([]byte(text[:n])); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	value, err := output(kept)
	return string(value), err
}

func TestOutput(t *testing.T) {
	for name, tc := range map[string]struct{ stdout, want string }{
		"nothing":                 {"", ""},
		"blank":                   {"\n \n", ""},
		"text":                    {"hello\n[INFO] started\n{braces} here\n2026-11-25 done\ntrue story\n\"quoted\" word\nnullify\n", ""},
		"an object":               {"hello\n{\"a\": 1}\n", `{"a": 1}`},
		"without a line end":      {"{\"a\": 1}", `{"a": 1}`},
		"the last of several":     {"{\"a\": 1}\n{\"b\": 2}\nbye\n", `{"b": 2}`},
		"on many lines":           {"{\n  \"a\": [\n    1,\n    2\n  ]\n}\n", "{\n  \"a\": [\n    1,\n    2\n  ]\n}"},
		"lines within are values": {"[\n1,\n2\n]\n", "[\n1,\n2\n]"},
		"scalars":                 {"1\n\"text\"\n", `"text"`},
		"null":                    {"1\nnull\n", "null"},
		"indented is text":        {"3\n  4\n", "3"},
		"two in a line":           {"3\n{} {}\n", "3"},
		"carriage returns":        {"log\r\n{\"a\": 1}\r\n", `{"a": 1}`},
		"after one that is open":  {"{\nTraceback\n{\"error\": \"x\"}\n", `{"error": "x"}`},
		"no UTF-8":                {"\"\xff\"\n", "\"\uFFFD\""},
		"beyond a lot of text":    {strings.Repeat("some text\n", 1<<18) + "{\"a\": 1}\nbye\n", `{"a": 1}`},
		"before a lot of text":    {"{\"a\": 1}\n" + strings.Repeat("some text\n", 1<<18), ""},
		"large":                   {"[" + strings.Repeat("1,", MaxOutput/2-2) + "1]\n", "[" + strings.Repeat("1,", MaxOutput/2-2) + "1]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := outputOf(t, tc.stdout); err != nil || got != tc.want {
				t.Errorf("got %.100q, error %v", got, err)
			}
		})
	}
}

func TestOutputTooLarge(t *testing.T) {
	for name, stdout := range map[string]string{
		"in one line":   "[" + strings.Repeat("1,", MaxOutput) + "1]\n",
		"on many lines": "{\n" + strings.Repeat("  \"a\": 1,\n", MaxOutput/8) + "  \"b\": 2\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := outputOf(t, stdout)
			if err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
				t.Errorf("got %.100q, error %v", got, err)
			}
		})
	}
}

// The work on brackets that are never closed is bounded. Without the bound, this test takes a minute.
func TestOutputOfWhatNeverCloses(t *testing.T) {
	began := time.Now()
	if got, err := outputOf(t, strings.Repeat("[\n", MaxOutput/2)); err != nil || got != "" {
		t.Errorf("got %.100q, error %v", got, err)
	}
	t.Log(time.Since(began))
}
