// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"io"
)

// tail keeps the end of a text, and passes all of the text on.
type tail struct {
	limit   int
	through io.Writer
	kept    []byte
	// cut means that the beginning is not kept.
	cut bool
}

// Write ignores errors of the writer behind it: a terminal that has gone must not end the program.
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

// end returns the end of the text, at most limit bytes.
func (t *tail) end() []byte { return t.kept[max(len(t.kept)-t.limit, 0):] }

func (t *tail) lastLine() string {
	lines := bytes.TrimSpace(t.end())
	return string(bytes.TrimSpace(lines[bytes.LastIndexByte(lines, '\n')+1:]))
}
