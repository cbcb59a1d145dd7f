// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestResume(t *testing.T) {
	for name, tc := range map[string]struct {
		// history is the size of the history of each gateway.
		history int
		// between happens after the first gateway is gone. The second one is there already unless starts is set.
		starts  bool
		between func(*scene)
		want    string
	}{
		"from the history of another gateway": {
			history: 1 << 20,
			want:    "progress(a 1) complete(a) trigger(b) leased(b 1)",
		},
		"by comparison at a gateway that has just started": {
			history: 1 << 20,
			starts:  true,
			want:    "progress(a 1) complete(a) trigger(b) leased(b 1)",
		},
		"by comparison at a gateway without a history": {
			want: "progress(a 1) complete(a) trigger(b) leased(b 1)",
		},
		"after the API server has forgotten": {
			history: 1 << 20,
			starts:  true,
			between: func(s *scene) { s.Forget() },
			want:    "reset",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				options := Options{PerCaller: 10, Total: 10, HistoryBytes: tc.history}
				first := s.gateway(options)
				var second *gateway
				if !tc.starts {
					second = s.gateway(options)
				}
				c := first.connect("", "")
				s.Put(makeRun("a"))
				synctest.Wait()
				s.Change("a", held(1))
				mustEqual(t, "at first", c.read(2), "trigger(a) leased(a 1)")
				first.stop()
				last := c.next().last
				s.Change("a", progress(1))
				s.Change("a", ended(v1alpha1.PhaseCompleted))
				s.Put(makeRun("b"))
				s.Change("b", held(1))
				if tc.between != nil {
					tc.between(s)
				}
				if tc.starts {
					second = s.gateway(options)
				}
				synctest.Wait()
				s.Put(makeRun("short"))
				s.Remove("short")
				synctest.Wait()
				c = second.connect("", last)
				s.Put(makeRun("c"))
				synctest.Wait()
				s.Change("c", ended(v1alpha1.PhaseCancelled))
				synctest.Wait()
				second.Drain()
				want := tc.want + " trigger(c) cancel(c)"
				if tc.history > 0 && !tc.starts {
					want = tc.want + " trigger(short) delete(short) trigger(c) cancel(c)"
				}
				mustEqual(t, "then", c.rest(), want)
			})
		})
	}
}

func TestResumeFromWhatNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		s.Put(makeRun("a"))
		s.Put(makeRun("b"))
		synctest.Wait()
		for _, last := range []string{"0", "nonsense", "1000", "-1"} {
			c := g.connect("", last)
			m := c.next()
			mustEqual(t, last, m.kind+" "+m.last, "reset 2")
			c.close()
		}
		c := g.connect("run=a", "1000")
		mustEqual(t, "of one run", c.read(2), "reset trigger(a)")
	})
}

// A gateway that lags behind the one before neither repeats nor misses an event.
func TestResumeAtAGatewayThatLagsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		s.SetLatency(5 * time.Second)
		s.Put(makeRun("a"))
		s.Put(makeRun("b"))
		c := g.connect("", "1")
		mustEqual(t, "events", c.read(1), "trigger(b)")
		mustEqual(t, "code", c.code, 200)
	})
}

// The Hub's own watch may end and begin again from a list. Streams get what happened in between.
func TestTheWatchBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		s.Put(makeRun("a"))
		s.Put(makeRun("gone"))
		synctest.Wait()
		c := g.connect("", "")
		s.Cut()
		s.Change("a", held(1))
		s.Remove("gone")
		s.Put(makeRun("b"))
		s.Forget()
		time.Sleep(5 * time.Minute)
		// What a list showed has no order of its own: until the last one, the id stays where it was.
		first, second, third := c.next(), c.next(), c.next()
		mustEqual(t, "events", first.text()+" "+second.text()+" "+third.text(), "delete(gone) leased(a 1) trigger(b)")
		mustEqual(t, "ids", first.last+" "+second.last+" "+third.last, "2 2 5")
	})
}

func TestTheStoreGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		c := g.connect("", "")
		for range 3 {
			s.Put(makeRun("a"))
		}
		synctest.Wait()
		g.hub.listed(nil, 2)
		mustEqual(t, "events", c.rest(), "trigger(a)")
		mustEqual(t, "metric", testutil.ToFloat64(g.metrics.cut.WithLabelValues(cutRestored)), 1)
	})
}
