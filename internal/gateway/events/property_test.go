// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// pair is two gateways at an API server, and a client that changes between them.
type pair struct {
	*apiserver.Server

	clock *clocktesting.FakeClock
	// gateways see all writes. One may be replaced by a new one.
	gateways [2]*Streams
	names    int
	// stream is the client's stream, and text what it has got of it.
	stream *stream
	text   *page
	// told are the events that the client got, by run and what they are about.
	told map[string]bool
	last string
}

// page is a connection that takes all at once.
type page struct {
	bytes.Buffer

	header http.Header
}

func (p *page) Header() http.Header                { return p.header }
func (p *page) WriteHeader(int)                    {}
func (p *page) FlushError() error                  { return nil }
func (p *page) SetWriteDeadline(_ time.Time) error { return nil }

func (p *pair) start(i int) {
	hub := NewHub(logr.Discard(), 4000)
	p.gateways[i] = NewStreams(logr.Discard(), p.clock, p, hub, DefaultOptions)
	all, version := p.all()
	hub.listed(all, version)
}

func (p *pair) all() ([]v1alpha1.JobRun, uint64) {
	var list v1alpha1.JobRunList
	if err := p.List(context.Background(), &list); err != nil {
		panic(err)
	}
	version, err := parseVersion(list.ResourceVersion)
	if err != nil {
		panic(err)
	}
	return list.Items, version
}

// show shows a write to both gateways, and the client what follows.
func (p *pair) show(run *v1alpha1.JobRun, deleted bool) {
	_, version := p.all()
	for _, g := range p.gateways {
		g.hub.changed(run.DeepCopy(), version, deleted)
	}
	p.pump()
}

func (p *pair) pump() {
	if err := p.stream.read(context.Background()); err != nil {
		panic(err)
	}
}

// connect opens a stream at a gateway.
func (p *pair) connect(i int) {
	g := p.gateways[i]
	reader, at := g.hub.open("default", selection{})
	begin, err := g.begin(context.Background(), reader, request{resumes: p.last != "", last: versionOf(p.last)}, at)
	if err != nil {
		panic(err)
	}
	p.text = &page{header: http.Header{}}
	p.stream = &stream{streams: g, reader: reader, out: &writer{
		w: p.text, control: http.NewResponseController(p.text), clock: p.clock,
	}}
	p.stream.begin(begin)
	p.pump()
}

func versionOf(id string) uint64 {
	version, _ := parseVersion(id)
	return version
}

// cut ends the stream. The client got the first bytes of its text only.
func (p *pair) cut(got int) {
	p.stream.reader.close()
	c := &listener{messages: make(chan message, 10000)}
	c.scan(bytes.NewReader(p.text.Bytes()[:got]), p.last)
	for m := range c.messages {
		p.last = m.last
		if m.kind != "" {
			p.told[m.text()] = true
		}
	}
}

// find draws one of the JobRuns that match.
func (p *pair) find(t *rapid.T, match func(*v1alpha1.JobRun) bool) *v1alpha1.JobRun {
	all, _ := p.all()
	all = slices.DeleteFunc(all, func(run v1alpha1.JobRun) bool { return !match(&run) })
	if len(all) == 0 {
		t.Skip("none")
	}
	return &all[rapid.IntRange(0, len(all)-1).Draw(t, "run")]
}

func isOpen(run *v1alpha1.JobRun) bool { return !run.HasEnded() && !run.IsReceipt() }

func (p *pair) put(changes ...func(*v1alpha1.JobRun)) {
	p.names++
	p.show(p.Put(makeRun(fmt.Sprintf("r%d", p.names), changes...)), false)
}

func (p *pair) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"create":  func(*rapid.T) { p.put() },
		"receipt": func(t *rapid.T) { p.put(receipt(p.find(t, isOpen))) },
		"change": func(t *rapid.T) {
			run := p.find(t, isOpen)
			p.show(p.Change(run.Name, func(run *v1alpha1.JobRun) {
				held(run.LeaseGeneration() + 1)(run)
				if rapid.Bool().Draw(t, "reports") {
					progress(rapid.Int64Range(1, 1000).Draw(t, "current"))(run)
				}
			}), false)
		},
		"end": func(t *rapid.T) {
			p.show(p.Change(p.find(t, isOpen).Name, ended(v1alpha1.PhaseCompleted)), false)
		},
		"delete": func(t *rapid.T) {
			run := p.find(t, func(*v1alpha1.JobRun) bool { return true })
			p.Remove(run.Name)
			p.show(run, true)
		},
		"wait": func(*rapid.T) {
			p.clock.Step(progressInterval)
			p.stream.out.within(p.stream.due)
		},
		"heartbeat": func(*rapid.T) { p.stream.out.within(p.stream.beat) },
		"restart": func(t *rapid.T) {
			i := rapid.IntRange(0, 1).Draw(t, "gateway")
			p.cut(rapid.IntRange(0, p.text.Len()).Draw(t, "got"))
			p.start(i)
			p.connect(rapid.IntRange(0, 1).Draw(t, "then"))
		},
	}
}

// check compares what the client got with what exists.
func (p *pair) check(t *rapid.T) {
	p.clock.Step(progressInterval)
	p.stream.out.within(p.stream.due)
	p.cut(p.text.Len())
	if p.told["reset"] {
		t.Fatal("reset, although the API server has forgotten nothing")
	}
	all, _ := p.all()
	want := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !p.told[text] {
			t.Fatalf("the client missed %s", text)
		}
	}
	for i := range all {
		run := &all[i]
		if run.Name == "old" && run.Status.Lease == nil {
			continue // It was there before, and nothing happened to it.
		}
		if ref := standsFor(run); ref != nil {
			want("coalesced(%s %s)", ref.Name, run.Name)
			continue
		}
		if run.Name != "old" {
			want("trigger(%s)", run.Name)
		}
		if generation := run.LeaseGeneration(); generation > 0 {
			want("leased(%s %d)", run.Name, generation)
		}
		if run.Status.Progress != nil {
			want("progress(%s %d)", run.Name, *run.Status.Progress.Current)
		}
		if run.HasEnded() {
			want("complete(%s)", run.Name)
		}
	}
}

// However often a client loses its gateway, at whatever byte, and whichever gateway it finds then: it gets all events of
// what still exists.
func TestPropertyResumeMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{Server: apiserver.New(), clock: clocktesting.NewFakeClock(time.Unix(0, 0)), told: map[string]bool{}}
		p.Put(makeRun("old"))
		p.start(0)
		p.start(1)
		p.connect(0)
		p.cut(p.text.Len()) // The client has a first id.
		p.connect(0)
		t.Repeat(p.actions())
		p.check(t)
	})
}
