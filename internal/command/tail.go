// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"io"
)

// tail keeps the end of what is written to it, and passes all of it on.
type tail struct {
	limit   int
	through io.Writer
	kept    []byte
	// cut is that the beginning is not kept.
	cut bool
}

// Write takes everything, whatever becomes of what is passed on: a terminal that
// has gone is no reason to end a program.
func (t *tail) Write(p []byte) (int, error) {
	if t.through != nil {
		_, _ = t.through.Write(p)
	}
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*t.limit {
		t.kept = append(t.kept[:0], t.end()...)
		t.cut = true
	}
	return len(p), nil
}

// end is what is kept for sure, within the limit.
func (t *tail) end() []byte { return t.kept[max(len(t.kept)-t.limit, 0):] }

func (t *tail) lastLine() string {
	lines := bytes.TrimSpace(t.end())
	return string(bytes.TrimSpace(lines[bytes.LastIndexByte(lines, '\n')+1:]))
}
