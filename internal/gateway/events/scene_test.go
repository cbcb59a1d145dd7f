// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// scene is an API server with gateways, in a bubble of synctest.
type scene struct {
	*apiserver.Server

	t *testing.T
	// denied is what Caller.Allowed answers.
	mu     sync.Mutex
	denied error
}

func newScene(t *testing.T) *scene { return &scene{Server: apiserver.New(), t: t} }

func (s *scene) deny(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = err
}

func (s *scene) allowed(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.denied
}

// gateway is one gateway. Its clients reach it through pipes without a buffer.
type gateway struct {
	*Streams

	scene *scene
	conns chan net.Conn
	stop  func()
}

func (s *scene) gateway(options Options) *gateway {
	hub := NewHub(logr.Discard(), options.HistoryBytes)
	g := &gateway{
		Streams: NewStreams(logr.Discard(), clock.RealClock{}, s, hub, options),
		scene:   s, conns: make(chan net.Conn),
	}
	ctx, cancel := context.WithCancel(context.Background())
	go hub.Follow(ctx, ListerWatcher(s))
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.Serve(w, r, "default", Caller{Name: r.Header.Get("From"), Allowed: s.allowed})
		if err != nil {
			var answer apierrors.APIStatus
			if !errors.As(err, &answer) {
				panic(err)
			}
			http.Error(w, answer.Status().Message, int(answer.Status().Code))
		}
	})}
	go func() { _ = server.Serve(g) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		_ = server.Close()
	})
	s.t.Cleanup(g.stop)
	synctest.Wait()
	return g
}

// Accept, Close and Addr make the gateway a net.Listener.
func (g *gateway) Accept() (net.Conn, error) {
	conn, ok := <-g.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (g *gateway) Close() error {
	close(g.conns)
	return nil
}

func (g *gateway) Addr() net.Addr { return &net.IPAddr{} }

// listener is one stream as a client reads it, as the specification of server-sent events says. It reads on by itself.
type listener struct {
	code   int
	header http.Header
	close  func()
	// messages has what was read. It is closed at the end of the stream.
	messages chan message
	comments atomic.Int32
}

// message is one event as a client gets it.
type message struct {
	// last is the id of the last event, after this one.
	kind, last string
	data       []byte
}

// request sends a request. last is the Last-Event-ID, or empty.
func (g *gateway) request(query, last string) *http.Response {
	g.scene.t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		g.conns <- theirs
		return ours, nil
	}}
	request := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: "gateway", RawQuery: query}, Header: http.Header{}}
	request.Header.Set("From", "caller")
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		g.scene.t.Fatal(err)
	}
	g.scene.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// connect opens a stream.
func (g *gateway) connect(query, last string) *listener {
	g.scene.t.Helper()
	response := g.request(query, last)
	c := &listener{
		code: response.StatusCode, header: response.Header, messages: make(chan message, 10000),
		close: func() { _ = response.Body.Close() },
	}
	go c.scan(response.Body, last)
	synctest.Wait()
	return c
}

func (c *listener) scan(body io.Reader, last string) {
	defer close(c.messages)
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	m := message{last: last}
	id := last // It counts once the empty line is there.
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), ":") {
			c.comments.Add(1)
			continue
		}
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			m.kind = value
		case "data":
			m.data = []byte(value)
		case "id":
			id = value
		case "":
			m.last = id
			if m.data != nil {
				c.messages <- m
			}
			m = message{last: m.last}
		}
	}
	c.messages <- message{last: m.last}
}

// next returns the next event, or one with the kind "" at the end of the stream.
func (c *listener) next() message { return <-c.messages }

// text renders an event, for example: coalesced(a b), leased(a 1), reset. It is empty at the end of a stream.
func (m message) text() string {
	var data Data
	if err := json.Unmarshal(m.data, &data); err != nil || data.Run == nil {
		return m.kind
	}
	text := strings.TrimPrefix(m.kind, "run:") + "(" + data.Run.Name
	switch {
	case data.Receipt != nil:
		text += " " + data.Receipt.Name
	case data.Generation > 0:
		text += fmt.Sprintf(" %d", data.Generation)
	case data.Type == "run:progress":
		text += fmt.Sprintf(" %d", *data.Run.Status.Progress.Current)
	}
	if data.Count > 1 {
		text += fmt.Sprintf(" x%d", data.Count)
	}
	return text + ")"
}

// read returns the next n events.
func (c *listener) read(n int) string {
	var texts []string
	for range n {
		texts = append(texts, c.next().text())
	}
	return strings.Join(texts, " ")
}

// rest returns all events until the stream ends.
func (c *listener) rest() string {
	var texts []string
	for m := range c.messages {
		if m.kind != "" {
			texts = append(texts, m.text())
		}
	}
	return strings.Join(texts, " ")
}

func makeRun(name string, changes ...func(*v1alpha1.JobRun)) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{}
	run.Name, run.Namespace = name, "default"
	run.Spec.JobName = "sync"
	run.Spec.Admission = apiserver.Created(name)
	run.Status.Phase = v1alpha1.PhasePending
	for _, change := range changes {
		change(run)
	}
	return run
}

// receipt makes a JobRun a receipt that is bound to a run.
func receipt(of *v1alpha1.JobRun) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Spec.Admission.Disposition, run.Spec.Admission.RunName = v1alpha1.DispositionCoalesced, of.Name
		run.Status.Phase, run.Status.RunRef = v1alpha1.PhaseCoalesced, &v1alpha1.ObjectReference{Name: of.Name, UID: of.UID}
	}
}

func job(name string) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) { run.Spec.JobName = name }
}

func label(name, value string) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		if run.Labels == nil {
			run.Labels = map[string]string{}
		}
		run.Labels[name] = value
	}
}

func held(generation int64) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Status.Phase = v1alpha1.PhaseLeased
		run.Status.Lease = &v1alpha1.RunLease{Generation: generation, HolderIdentity: "worker"}
	}
}

func progress(current int64) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) { run.Status.Progress = &v1alpha1.Progress{Generation: 1, Current: &current} }
}

func ended(phase v1alpha1.Phase) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) { run.Status.Phase = phase }
}

func mustEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
