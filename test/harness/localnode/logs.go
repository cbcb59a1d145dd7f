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

// The kubelet's limits for a termination message, and for the end of the log that replaces a missing one.
const (
	maxMessageBytes    = 4096
	maxMessageLogBytes = 2048
	maxMessageLogLines = 80
)

// logFile is the output of one process. Each write wakes the readers that follow it, so they do not poll.
type logFile struct {
	file *os.File

	mu      sync.Mutex
	size    int64
	closed  bool
	changed chan struct{} // It is closed at the next write.
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

// Close ends the log. It can still be read.
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

// open returns a reader of the log, or of its last lines if tail is not zero. With follow, the reader waits for more until
// the process has ended or ctx is done.
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

// lastPart returns the end of the log that replaces a missing termination message.
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

// startOfLastLines returns the offset of the last lines of a text of this size. A line break at the end does not start
// another line.
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

// terminationMessage returns the message that a process wrote to path, or the text of an error.
func terminationMessage(path string) string {
	return tailOf(path, maxMessageBytes)
}

// tailOf returns the end of a file, as valid UTF-8. A missing file is empty. Any other error is returned as text.
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
