// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/cli-runtime/pkg/printers"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// shower shows the state of a run, until close.
type shower interface {
	show(*v1alpha1.JobRun)
	close()
}

func (p *plugin) newDisplay() shower {
	if p.width(p.Streams.ErrOut) > 0 {
		return newLiveLine(p.Streams.ErrOut, p.width)
	}
	return &plainLines{out: p.Streams.ErrOut}
}

// plainLines prints a line for each change.
type plainLines struct {
	out  io.Writer
	last string
}

func (l *plainLines) show(run *v1alpha1.JobRun) { l.say(stateLine(run)) }

func (l *plainLines) say(line string) {
	if line != l.last {
		l.last = line
		fmt.Fprintln(l.out, line)
	}
}

func (l *plainLines) close() {}

// liveLine is one line that is redrawn at each change and every second.
type liveLine struct {
	out     io.Writer
	width   func(io.Writer) int
	began   time.Time
	stop    chan struct{}
	stopped sync.WaitGroup

	mu   sync.Mutex
	line string
}

const (
	tick      = time.Second
	eraseLine = "\r\x1b[K"
)

func newLiveLine(out io.Writer, width func(io.Writer) int) *liveLine {
	l := &liveLine{out: out, width: width, began: time.Now(), stop: make(chan struct{})}
	ticker := time.NewTicker(tick)
	l.stopped.Go(func() {
		defer ticker.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-ticker.C:
				l.draw("")
			}
		}
	})
	return l
}

func (l *liveLine) show(run *v1alpha1.JobRun) { l.draw(stateLine(run)) }

func (l *liveLine) draw(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line != "" {
		l.line = line
	}
	if l.line != "" {
		since := fmt.Sprintf(" (%s)", time.Since(l.began).Truncate(time.Second))
		fmt.Fprint(l.out, eraseLine+fit(l.line, l.width(l.out)-len(since))+since)
	}
}

// close erases the line.
func (l *liveLine) close() {
	close(l.stop)
	l.stopped.Wait()
	fmt.Fprint(l.out, eraseLine)
}

// fit cuts a line so that it does not wrap. A wrapped line could not be erased.
func fit(line string, columns int) string {
	runes := []rune(line)
	if len(runes) < columns {
		return line
	}
	return string(runes[:max(columns-1, 0)])
}

// stateLine returns the state of a run or a receipt in one line.
func stateLine(run *v1alpha1.JobRun) string {
	line := run.Name + ": " + state(run)
	if p := progressText(run.Status.Progress); p != "" && run.Status.Phase == v1alpha1.PhaseLeased {
		line += ", " + p
	}
	return printers.EscapeTerminal(strings.ReplaceAll(line, "\n", " "))
}

// state returns the phase in words.
func state(run *v1alpha1.JobRun) string {
	s := run.Status
	switch s.Phase {
	case "":
		return reasoned("waiting for its key or for the operator", s.Error)
	case v1alpha1.PhasePending:
		return reasoned("Pending", s.Error)
	case v1alpha1.PhaseLeased:
		holder := ""
		if s.Lease != nil && s.Lease.HolderIdentity != "" {
			holder = fmt.Sprintf(" by %s, generation %d", s.Lease.HolderIdentity, s.Lease.Generation)
		}
		return reasoned("Leased"+holder, s.Error)
	case v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent:
		if s.RunRef != nil {
			return fmt.Sprintf("%s, run %s stands for it", s.Phase, s.RunRef.Name)
		}
		return string(s.Phase)
	default:
		return reasoned(string(s.Phase), s.Error)
	}
}

func reasoned(state, reason string) string {
	if reason == "" {
		return state
	}
	return state + ": " + reason
}

// progressText returns the progress that the holder reported.
func progressText(p *v1alpha1.Progress) string {
	if p == nil {
		return ""
	}
	var parts []string
	switch {
	case p.Current != nil && p.Total != nil:
		parts = append(parts, fmt.Sprintf("%d/%d", *p.Current, *p.Total))
	case p.Current != nil:
		parts = append(parts, strconv.FormatInt(*p.Current, 10))
	}
	if p.Message != "" {
		parts = append(parts, p.Message)
	}
	return strings.Join(parts, " ")
}
