// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
)

// The kubelet's limits for a termination message, and for the end of the log
// that stands in for one.
const (
	maxMessageBytes    = 4096
	maxMessageLogBytes = 2048
	maxMessageLogLines = 80
)

// logFile is the output of one process. Its readers learn of each write, so that
// following a log does not poll.
type logFile struct {
	file *os.File

	mu      sync.Mutex
	size    int64
	closed  bool
	changed chan struct{} // closed at the next write
}

func createLog(path string) (*logFile, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &logFile{file: file, changed: make(chan struct{})}, nil
}

func (l *logFile) Write(p []byte) (int, error) {
	n, err := l.file.Write(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size += int64(n)
	l.signal()
	return n, err
}

// Close says that nothing more will be written. The log can still be read.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.signal()
	return l.file.Close()
}

func (l *logFile) signal() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *logFile) state() (size int64, closed bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, l.closed, l.changed
}

// open reads the log from its start or, if tail is not zero, its last lines. If
// follow is set, the reader waits for more until the process has ended or ctx is.
func (l *logFile) open(ctx context.Context, tail int, follow bool) (io.ReadCloser, error) {
	file, err := os.Open(l.file.Name())
	if err != nil {
		return nil, err
	}
	reader := &logReader{log: l, file: file, follow: follow, stop: ctx.Done()}
	if tail > 0 {
		size, _, _ := l.state()
		if reader.offset, err = startOfLastLines(file, size, tail); err != nil {
			file.Close()
			return nil, err
		}
	}
	return reader, nil
}

// lastPart is the end of the log that serves as a termination message.
func (l *logFile) lastPart() string {
	text := tailOf(l.file.Name(), maxMessageLogBytes)
	start, err := startOfLastLines(strings.NewReader(text), int64(len(text)), maxMessageLogLines)
	if err != nil {
		return err.Error()
	}
	return text[start:]
}

type logReader struct {
	log    *logFile
	file   *os.File
	offset int64
	follow bool
	stop   <-chan struct{}
}

func (r *logReader) Read(p []byte) (int, error) {
	for {
		_, closed, changed := r.log.state()
		n, err := r.file.ReadAt(p, r.offset)
		r.offset += int64(n)
		switch {
		case n > 0:
			return n, nil
		case err != io.EOF || closed || !r.follow:
			return 0, err
		}
		select {
		case <-changed:
		case <-r.stop:
			return 0, io.EOF
		}
	}
}

func (r *logReader) Close() error {
	return r.file.Close()
}

// startOfLastLines is where the last lines of a text of this size begin. A line
// break at the very end ends the last line and begins none.
func startOfLastLines(text io.ReaderAt, size int64, lines int) (int64, error) {
	block := make([]byte, 4096)
	for end := size - 1; end > 0; {
		start := max(0, end-int64(len(block)))
		part := block[:end-start]
		if _, err := text.ReadAt(part, start); err != nil && err != io.EOF {
			return 0, err
		}
		for i := bytes.LastIndexByte(part, '\n'); i >= 0; i = bytes.LastIndexByte(part[:i], '\n') {
			if lines--; lines == 0 {
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}

// terminationMessage is what the process left at path, or an error as text.
func terminationMessage(path string) string {
	return tailOf(path, maxMessageBytes)
}

// tailOf is the end of a file, as valid UTF-8. A file that is missing is empty;
// any other failure to read it is returned as the text.
func tailOf(path string, limit int64) string {
	text, err := readTail(path, limit)
	if err != nil && !os.IsNotExist(err) {
		return err.Error()
	}
	return strings.ToValidUTF8(string(text), "")
}

func readTail(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(max(0, info.Size()-limit), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(file, limit))
}
