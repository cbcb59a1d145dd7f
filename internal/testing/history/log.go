// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

// line is a line of a log: a call if Call is set, else a return.
type line struct {
	ID int64 `json:"id"`
	At int64 `json:"at"`

	Call *Operation `json:"call,omitempty"`

	Outcome Outcome `json:"outcome,omitempty"`
	Answer  string  `json:"answer,omitempty"`
}

// Recorder writes the log of one process.
type Recorder struct {
	process string

	mu   sync.Mutex
	out  io.Writer
	last int64
}

// NewRecorder returns a Recorder that writes to out, one line at a time and without a buffer. A file opened
// with O_APPEND keeps every line if the process is killed.
func NewRecorder(out io.Writer, process string) *Recorder {
	return &Recorder{process: process, out: out}
}

// Call records the call of an operation. Call it before the operation begins, and call answered when its answer
// has arrived.
func (r *Recorder) Call(o Operation) (answered func(outcome Outcome, answer string)) {
	o.Process = r.process
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	id := r.last
	r.write(line{ID: id, At: Now(), Call: &o})
	return func(outcome Outcome, answer string) {
		at := Now()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.write(line{ID: id, At: at, Outcome: outcome, Answer: answer})
	}
}

// write panics if it fails, because a history with gaps proves nothing.
func (r *Recorder) write(l line) {
	text, err := json.Marshal(l)
	if err == nil {
		_, err = r.out.Write(append(text, '\n'))
	}
	if err != nil {
		panic(fmt.Sprintf("record a history: %v", err))
	}
}

// Read reads logs, in any order. The outcome of a call without a return is Unknown.
func Read(logs ...io.Reader) ([]Operation, error) {
	var all []Operation
	for _, log := range logs {
		operations, err := readLog(log)
		if err != nil {
			return nil, err
		}
		all = append(all, operations...)
	}
	return all, nil
}

// ReadFiles is Read for files.
func ReadFiles(files ...string) ([]Operation, error) {
	var all []Operation
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		operations, err := readLog(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, operations...)
	}
	return all, nil
}

func readLog(log io.Reader) ([]Operation, error) {
	var operations []Operation
	called := map[int64]int{}
	in := bufio.NewReader(log)
	for {
		text, err := in.ReadBytes('\n')
		if err == io.EOF {
			return operations, nil // An incomplete last line, of a process that was killed, is dropped.
		}
		if err != nil {
			return nil, err
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("not a line of a history: %q: %w", text, err)
		}
		if l.Call != nil {
			called[l.ID] = len(operations)
			o := *l.Call
			o.Call, o.Return, o.Outcome = l.At, Never, Unknown
			operations = append(operations, o)
			continue
		}
		i, ok := called[l.ID]
		if !ok {
			return nil, fmt.Errorf("a return without a call: %q", text)
		}
		operations[i].Outcome, operations[i].Answer = l.Outcome, l.Answer
		if l.Outcome != Unknown {
			operations[i].Return = l.At
		}
	}
}
