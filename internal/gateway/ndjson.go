// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/internal/gateway/group"
)

const (
	// linesAtOnce bounds the triggers of one stream that are under way. Lines of one key share JobRuns, so there is room for a
	// batch of 100 of them.
	linesAtOnce = 128
	// linePatience is how long a client may take to send the next line that is not empty.
	linePatience = time.Minute
	// lineBuffer and answerBuffer are the sizes of the buffers of a stream.
	lineBuffer, answerBuffer = 16 << 10, 16 << 10
	// maxRepeated is the longest line that a stream keeps for the next one. Nothing counts the bytes that it keeps.
	maxRepeated = 1 << 10
)

// errIdle ends a stream whose client sends nothing.
var errIdle error = failed(http.StatusRequestTimeout, metav1.StatusReasonTimeout, "no trigger came for %s, so the stream ends", linePatience)

// errStreamStops ends a stream when the gateway stops.
var errStreamStops error = unavailable("the gateway is stopping; send this line and those after it again")

// stream is one stream of triggers.
type stream struct {
	server  *Server
	request *http.Request
	control *http.ResponseController
	// lines are those that are under way, in order.
	lines chan pendingLine
	// text encodes the answers.
	text lineText
	// firstJob is the job of the first line that could be read. Only read uses it.
	firstJob string
	// latestLine is the line that was decoded last, unless it is long, and latestItem what it says. Only read uses them.
	latestLine []byte
	latestItem BatchItem

	mu sync.Mutex
	// over is why no further line is taken, or nil.
	over error
}

// streamTriggers answers each line of the body, in order. The triggers are independent: a bad line is answered, and the
// next one goes on. The triggers of up to linesAtOnce lines are under way at once. It counts as one of the caller's streams.
func (s *Server) streamTriggers(w http.ResponseWriter, r *http.Request) error {
	leave, err := s.streams.Enter(callerOf(r.Context()))
	if err != nil {
		return err
	}
	defer leave()
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	t := &stream{
		server: s, request: r.WithContext(ctx), control: http.NewResponseController(w), lines: make(chan pendingLine, linesAtOnce-2), // one more is being answered, and one waits for room
	}
	_ = t.control.EnableFullDuplex() // HTTP/2 always is
	w.Header().Set("Content-Type", ndjsonType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if err := t.control.Flush(); err != nil { // a client may wait for it before it sends a line
		s.Log.V(1).Info("The client of a stream is gone", "requestID", requestIDOf(ctx), "reason", err.Error())
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(t.lines)
		t.read(ctx)
	})
	defer reading.Wait()
	answers := bufio.NewWriterSize(w, answerBuffer)
	for line := range t.lines {
		if err := t.writeAnswer(ctx, answers, line); err != nil {
			stop()
			t.stopReading()
			break
		}
	}
	for line := range t.lines { // after a failed write
		t.answer(ctx, line)
	}
	return nil
}

// read starts the trigger of each line, until the body or ctx ends, the gateway stops, the caller may trigger no longer, or no
// line comes.
func (t *stream) read(ctx context.Context) {
	defer t.guard(ctx)()
	lines := bufio.NewReaderSize(t.request.Body, lineBuffer)
	begun := t.server.Clock.Now()
	number := 1
	for ; ctx.Err() == nil; number++ {
		waits := !hasLine(lines)
		if waits {
			_ = t.control.SetReadDeadline(begun.Add(linePatience)) // a recorder of a test has no deadlines
		}
		if t.isOver() != nil || ctx.Err() != nil { // They may have stopped the reading before the deadline was set.
			t.stopReading()
		}
		line, err := t.readLine(lines)
		if waits && err == nil { // To start a trigger may take longer, and HTTP/2 forgives no deadline that has passed.
			_ = t.control.SetReadDeadline(time.Time{})
		}
		isEmpty := err == nil && len(bytes.TrimSpace(line.text)) == 0
		if !t.take(ctx, number, line, err) {
			return
		}
		if !isEmpty { // An empty line keeps no stream alive.
			begun = t.server.Clock.Now()
		}
	}
	if t.server.isCutShort() {
		t.refuse(number, errStreamStops)
	}
}

// take answers a line, or starts its trigger. It reports whether there may be a next line.
func (t *stream) take(ctx context.Context, number int, line heldLine, err error) (more bool) {
	last := err != nil && statusCode(err) == 0
	isEmpty := len(bytes.TrimSpace(line.text)) == 0
	switch {
	case isEmpty && (err == nil || errors.Is(err, io.EOF)):
		line.done()
	case t.isRefused() || errors.Is(err, os.ErrDeadlineExceeded):
		line.done()
		t.refuse(number, cmp.Or(t.isOver(), errIdle))
		return false
	case last && !errors.Is(err, io.EOF):
		line.done()
		t.refuse(number, badRequest("the line could not be read: %v", err))
	case err != nil && !last:
		t.refuse(number, err)
	default:
		t.start(ctx, number, line)
	}
	return !last
}

// stopReading ends a read that is under way, and those after it.
func (t *stream) stopReading() { _ = t.control.SetReadDeadline(time.Unix(1, 0)) }

// isOver returns why no further line is taken, or nil.
func (t *stream) isOver() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// isRefused reports whether the caller may trigger no longer. What a caller sent before the gateway stops is still taken.
func (t *stream) isRefused() bool { return t.isOver() != nil && !isClosed(t.server.drained()) }

// guard ends the reading when the gateway stops, and when the caller may trigger no longer. The result ends the guard.
func (t *stream) guard(ctx context.Context) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var guarding sync.WaitGroup
	guarding.Go(func() {
		if err := t.untilOver(ctx); err != nil {
			t.mu.Lock()
			t.over = err
			t.mu.Unlock()
			t.stopReading()
		}
	})
	return func() {
		cancel()
		guarding.Wait()
	}
}

// untilOver waits until no further line must be taken, and returns why. It returns nil once ctx ends.
func (t *stream) untilOver(ctx context.Context) error {
	access := events.Access{Allowed: t.server.stillAllowed(t.request, needsBatch)}
	ticker := t.server.Clock.NewTicker(events.AccessInterval())
	defer ticker.Stop()
	for {
		select {
		case <-t.server.drained():
			return errStreamStops
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			if err := access.Ask(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// pendingLine is a line whose answer is to be written.
type pendingLine struct {
	number int
	begun
	// later has what begun lacks if the rights of the caller are being looked up. Otherwise it is nil.
	later <-chan begun
	// done ends what the line holds. It may be nil.
	done func()
}

// begun is the trigger of a line, or why there is none.
type begun struct {
	trigger *group.Pending
	err     error
}

// isAnswered reports whether the answer need not be awaited.
func (p *pendingLine) isAnswered() bool {
	return p.later == nil && (p.err != nil || p.trigger.IsAnswered())
}

// start begins the trigger of a line, and does not wait for it.
func (t *stream) start(ctx context.Context, number int, line heldLine) {
	pending := pendingLine{number: number, done: line.done}
	pending.trigger, pending.err = calmly(ctx, t.server, func() (trigger *group.Pending, err error) {
		trigger, pending.later, err = t.begin(ctx, line.text)
		return trigger, err
	})
	t.lines <- pending
}

// answer waits for the answer to a line.
func (t *stream) answer(ctx context.Context, line pendingLine) answeredLine {
	if line.done != nil {
		defer line.done()
	}
	if line.later != nil {
		line.begun = <-line.later
	}
	triggered, err := group.Answer{}, line.err
	if err == nil {
		triggered, err = t.server.answerIn(ctx, line.trigger)
	}
	if err != nil {
		t.server.logCause(requestIDOf(ctx), err)
	}
	return answeredLine{line.number, triggered, err}
}

// calmly is do, with a 500 for a panic: the goroutines of a stream are its own, so a panic would end the process.
func calmly[T any](ctx context.Context, s *Server, do func() (T, error)) (result T, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = s.panicked(requestIDOf(ctx), "the line of a stream", cause)
		}
	}()
	return do()
}

// refuse answers a line that becomes no trigger.
func (t *stream) refuse(number int, err error) {
	t.lines <- pendingLine{number: number, begun: begun{err: err}}
}

// begin decodes a line and takes the place of its trigger. If the rights of the caller have to be looked up, the trigger comes later.
func (t *stream) begin(ctx context.Context, line []byte) (trigger *group.Pending, later <-chan begun, err error) {
	item, err := t.decode(line)
	if err != nil {
		return nil, nil, err
	}
	begin := func() *group.Pending {
		return t.server.beginShare(ctx, namespaceOf(t.request), item.spec(item.JobName), item.Labels)
	}
	if t.firstJob == "" { // Most streams are of one job. The others ask for the rights of many jobs at once.
		t.firstJob = item.JobName
		if err := t.server.requireTrigger(ctx, namespaceOf(t.request), item.JobName); err != nil {
			return nil, nil, err
		}
	}
	if t.mayTrigger(ctx, item.JobName) {
		return begin(), nil, nil
	}
	return nil, t.askFirst(ctx, item.JobName, begin), nil
}

// askFirst begins a trigger once the caller is known to have the rights. It does not wait for that.
func (t *stream) askFirst(ctx context.Context, job string, begin func() *group.Pending) <-chan begun {
	later := make(chan begun, 1)
	go func() {
		trigger, err := calmly(ctx, t.server, func() (*group.Pending, error) {
			if err := t.server.requireTrigger(ctx, namespaceOf(t.request), job); err != nil {
				return nil, err
			}
			return begin(), nil
		})
		later <- begun{trigger, err}
	}()
	return later
}

// decode decodes a line. Duplicates of a trigger are often the same text, and nothing changes what was decoded, so a line that
// repeats the one before it is not decoded again.
func (t *stream) decode(line []byte) (item BatchItem, err error) {
	if t.latestLine != nil && bytes.Equal(line, t.latestLine) {
		return t.latestItem, nil
	}
	if err := decode(line, &item); err != nil {
		return item, err
	}
	t.latestLine, t.latestItem = nil, BatchItem{}
	if len(line) <= maxRepeated {
		t.latestLine, t.latestItem = line, item
	}
	return item, nil
}

// mayTrigger reports whether the caller was found to have the rights to trigger a job a moment ago.
func (t *stream) mayTrigger(ctx context.Context, job string) bool {
	for _, needed := range toTrigger(namespaceOf(t.request), job) {
		if !t.server.rights.has(userOf(ctx), needed) {
			return false
		}
	}
	return true
}

// writeAnswer writes the answer to a line. It sends those before it if this one is not there yet, and sends this one if it is the last.
func (t *stream) writeAnswer(ctx context.Context, w *bufio.Writer, line pendingLine) error {
	if w.Buffered() > 0 && !line.isAnswered() {
		if err := t.flush(w); err != nil {
			t.answer(ctx, line)
			return err
		}
	}
	text, err := t.text.encode(t.answer(ctx, line))
	if err != nil {
		return err
	}
	if len(text) > w.Available() {
		if err := t.flush(w); err != nil {
			return err
		}
	}
	if _, err := w.Write(text); err != nil || len(t.lines) > 0 {
		return err
	}
	return t.flush(w)
}

// flush sends the answers that were written. No deadline is left then: HTTP/2 would reset a stream that writes nothing for a while.
func (t *stream) flush(w *bufio.Writer) error {
	t.setWriteDeadline()
	defer func() { _ = t.control.SetWriteDeadline(time.Time{}) }()
	if err := w.Flush(); err != nil {
		return err
	}
	return t.control.Flush()
}

// setWriteDeadline bounds the next write.
func (t *stream) setWriteDeadline() {
	_ = t.control.SetWriteDeadline(t.server.Clock.Now().Add(writePatience)) // a recorder of a test has no deadlines
}

// hasLine reports whether the next line can be read without waiting for the client.
func hasLine(lines *bufio.Reader) bool {
	read, _ := lines.Peek(lines.Buffered())
	return bytes.IndexByte(read, '\n') >= 0
}

// heldLine is a line whose bytes count as held until done is called.
type heldLine struct {
	text []byte
	done func()
}

// readLine returns the next line. It skips a line that is too long or for which there is no room, and returns a 413 or a 429. At the
// end it returns io.EOF, with the last line if that has no end. The line is done if the error has a Status.
func (t *stream) readLine(lines *bufio.Reader) (heldLine, error) {
	caller, held := callerOf(t.request.Context()), int64(0)
	line := heldLine{done: sync.OnceFunc(func() { t.server.bodies.give(caller, held) })}
	text, err := readLine(lines, func(size int) error {
		switch {
		case held+int64(size) > maxTriggerBytes:
			return tooLarge(maxTriggerBytes)
		case !t.server.bodies.take(caller, int64(size)):
			return tooManyBodies()
		}
		held += int64(size)
		return nil
	})
	if statusCode(err) != 0 {
		line.done()
	}
	line.text = text
	return line, err
}

// readLine returns the next line. It skips a line of which take refuses a part, and returns that error. At the end it returns io.EOF,
// with the last line if that has no end.
func readLine(lines *bufio.Reader, take func(size int) error) ([]byte, error) {
	var line []byte
	var refused error
	for {
		part, err := lines.ReadSlice('\n')
		if refused == nil {
			refused = take(len(part))
		}
		if refused == nil {
			line = append(line, part...)
		} else {
			line = nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if refused != nil && (err == nil || errors.Is(err, io.EOF)) {
			return nil, refused
		}
		return line, err
	}
}
