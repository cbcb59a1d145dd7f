// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package mutants

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

const program = `package main

import "fmt"

const limit = 3

type set[T comparable] map[T]bool

func (s set[T]) has(x T) bool { return s[x] }

type counter struct{ n int }

func (c *counter) add(_ string, more ...int) {
	for _, m := range more {
		c.n += m
	}
}

func (counter) name() (string, error) { return "counter", nil }

func first[T any](items []T, other T) T {
	if len(items) > 0 {
		return items[0]
	}
	return other
}

func main() {
	var c counter
	c.add("", 1, limit)
	name, _ := c.name()
	fmt.Println(c.n, name, set[int]{1: true}.has(1), first(nil, "none"))
}
`

func TestCombine(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"main.go": program, "go.mod": "module example.com/program\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts, alone, err := Combine(root, map[string]Edit{
		"a constant":            {"main.go", "limit = 3", "limit = 4"},
		"a method":              {"main.go", "c.n += m", "c.n -= m"},
		"the same method":       {"main.go", "c.n += m", "c.n += 2 * m"},
		"an unnamed receiver":   {"main.go", `"counter", nil`, `"other", nil`},
		"a receiver with types": {"main.go", "return s[x]", "return !s[x]"},
		"a generic function":    {"main.go", "return other", "return *new(T)"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(alone, []string{"a constant"}) {
		t.Errorf("alone: %q", alone)
	}
	overlay, err := writeOverlay(t.TempDir(), texts)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "program")
	command := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", binary, ".")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for active, want := range map[string]string{
		"":                      "4 counter true none",
		"a method":              "-4 counter true none",
		"the same method":       "8 counter true none",
		"an unnamed receiver":   "4 other true none",
		"a receiver with types": "4 counter false none",
		"a generic function":    "4 counter true ",
	} {
		command := exec.CommandContext(t.Context(), binary)
		command.Env = append(os.Environ(), Variable+"="+active)
		if output, err := command.Output(); err != nil || string(output) != want+"\n" {
			t.Errorf("mutant %q: %q, %v, want %q", active, output, err, want)
		}
	}
}

func TestCombineRefusesATextThatIsThereTwice(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Combine(root, map[string]Edit{"twice": {"main.go", "return", ""}}); err == nil {
		t.Error("accepts an edit that could be at several places")
	}
}
