// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newLog(t *testing.T, text string) *logFile {
	t.Helper()
	log, err := createLog(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, log, text)
	return log
}

func write(t *testing.T, log *logFile, text string) {
	t.Helper()
	if _, err := io.WriteString(log, text); err != nil {
		t.Fatal(err)
	}
}

func TestLogTail(t *testing.T) {
	long := strings.Repeat("x", 5000) + "\n"
	cases := map[string]struct {
		text string
		tail int
		want string
	}{
		"all":                 {"a\nb\n", 0, "a\nb\n"},
		"last":                {"a\nb\n", 1, "b\n"},
		"unfinished line":     {"a\nb", 1, "b"},
		"more than there are": {"a\nb\n", 9, "a\nb\n"},
		"empty lines":         {"a\n\n\n", 2, "\n\n"},
		"nothing":             {"", 3, ""},
		"beyond a block":      {"a\n" + long + long, 2, long + long},
		"a block's border":    {"a\n" + strings.Repeat("y", 4095) + "\n", 1, strings.Repeat("y", 4095) + "\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			reader, err := newLog(t, c.text).open(t.Context(), c.tail, false)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			got, err := io.ReadAll(reader)
			if err != nil || string(got) != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestLogFollow(t *testing.T) {
	log := newLog(t, "old\n")
	reader, err := log.open(t.Context(), 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	expect("old\n")
	go func() { _, _ = io.WriteString(log, "new\n") }()
	expect("new\n")
	go func() {
		_, _ = io.WriteString(log, "last\n")
		_ = log.Close()
	}()
	expect("last\n")
	if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 {
		t.Errorf("the reader must end with the process, got %q, %v", rest, err)
	}
}

func TestLogFollowEndsWithItsReader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reader, err := newLog(t, "").open(ctx, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cancel()
	if _, err := reader.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
}

func TestLastPart(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"short": {"it broke\n", "it broke\n"},
		"lines": {strings.Repeat("z\n", 100), strings.Repeat("z\n", maxMessageLogLines)},
		"bytes": {strings.Repeat("z", 5000), strings.Repeat("z", maxMessageLogBytes)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := newLog(t, c.text).lastPart(); got != c.want {
				t.Errorf("got %d bytes %.20q, want %d", len(got), got, len(c.want))
			}
		})
	}
}

func TestTerminationMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "message")
	if got := terminationMessage(path); got != "" {
		t.Errorf("a missing file is no message, got %q", got)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("é", 3000)+"."), 0o600); err != nil {
		t.Fatal(err)
	}
	// The last 4096 bytes begin in the middle of an é.
	if got, want := terminationMessage(path), strings.Repeat("é", 2047)+"."; got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
	if got := terminationMessage(filepath.Dir(path)); !strings.Contains(got, "is a directory") {
		t.Errorf("what cannot be read is said, got %q", got)
	}
}
