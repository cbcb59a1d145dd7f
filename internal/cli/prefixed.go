// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"io"
)

// maxShownLine is the length at which an endless line is broken.
const maxShownLine = 64 << 10

// prefixed puts a name before each line. Without a name it passes everything on as it comes.
type prefixed struct {
	out  io.Writer
	name string
	line []byte
}

// Write passes complete lines on, in one write.
func (p *prefixed) Write(b []byte) (int, error) {
	if p.name == "" {
		return p.out.Write(b)
	}
	p.line = append(p.line, b...)
	end := bytes.LastIndexByte(p.line, '\n') + 1
	if end == 0 && len(p.line) > maxShownLine {
		end = len(p.line)
	}
	if end > 0 {
		p.pass(p.line[:end])
		p.line = append(p.line[:0], p.line[end:]...)
	}
	return len(b), nil
}

// flush passes on a last line that has no end.
func (p *prefixed) flush() {
	if len(p.line) > 0 {
		p.pass(p.line)
		p.line = nil
	}
}

func (p *prefixed) pass(lines []byte) {
	var shown bytes.Buffer
	for line := range bytes.Lines(lines) {
		shown.WriteString("[" + p.name + "] ")
		shown.Write(bytes.TrimSuffix(line, []byte("\n")))
		shown.WriteByte('\n')
	}
	// An error means that the reader has gone. The command runs on without it.
	_, _ = p.out.Write(shown.Bytes())
}
