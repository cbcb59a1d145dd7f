// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.Put(makeRun("old"))
		c := s.gateway(DefaultOptions).connect("", "")
		mustEqual(t, "content type", c.header.Get("Content-Type"), "text/event-stream")
		mustEqual(t, "caching", c.header.Get("Cache-Control"), "no-cache, no-store, no-transform")
		mustEqual(t, "nginx", c.header.Get("X-Accel-Buffering"), "no")
		a := s.Put(makeRun("a"))
		s.Put(makeRun("b", receipt(a)))
		s.Change("a", held(1))
		s.Change("a", progress(7))
		s.Change("a", ended(v1alpha1.PhaseCompleted))
		s.Remove("a")
		s.Change("old", ended(v1alpha1.PhaseCancelled))
		mustEqual(t, "events", c.read(7), "trigger(a) coalesced(a b) leased(a 1) progress(a 7) complete(a) delete(a) cancel(old)")
		time.Sleep(time.Hour)
		s.Put(makeRun("late", ended(v1alpha1.PhaseFailed)))
		mustEqual(t, "an hour later", c.read(2), "trigger(late) fail(late)")
	})
}

func TestStreamSelects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		byJob, byLabels := g.connect("jobName=mail", ""), g.connect("label=env%3Dprod&label=tier+in+(gold,silver)", "")
		elsewhere := makeRun("elsewhere")
		elsewhere.Namespace = "other"
		s.Put(elsewhere)
		s.Put(makeRun("a", label("env", "prod")))
		b := s.Put(makeRun("b", job("mail")))
		s.Put(makeRun("c", label("env", "prod"), label("tier", "gold")))
		// An absorbed trigger is selected by its own labels, too.
		s.Put(makeRun("d", receipt(b), job("mail"), label("env", "prod"), label("tier", "silver")))
		s.Remove("c")
		s.Remove("b")
		mustEqual(t, "by job", byJob.read(3), "trigger(b) coalesced(b d) delete(b)")
		mustEqual(t, "by labels", byLabels.read(3), "trigger(c) coalesced(b d) delete(c)")
	})
}

func TestStreamRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(Options{PerCaller: 2, Total: 10, HistoryBytes: 1 << 20})
		for query, want := range map[string]int{
			"label=a%20b": 400, "run=UPPER": 400, "run=none": 404,
		} {
			mustEqual(t, query, g.connect(query, "").code, want)
		}
		first := g.connect("", "")
		mustEqual(t, "the second", g.connect("", "").code, 200)
		mustEqual(t, "the third", g.connect("", "").code, 429)
		first.close()
		synctest.Wait()
		mustEqual(t, "after one has gone", g.connect("", "").code, 200)
		g.Drain()
		mustEqual(t, "while draining", g.connect("", "").code, 503)
	})
}

func TestStreamWaitsForTheFirstList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.SetLatency(syncTimeout + 2*time.Second)
		g := s.gateway(DefaultOptions)
		mustEqual(t, "too early", g.connect("", "").code, 503)
		mustEqual(t, "early", g.connect("", "").code, 200)
		s.SetLatency(0)
		time.Sleep(time.Minute)
	})
}

// The id moves on without events, so that a resume is cheap. It moves only when all events of a write are there.
func TestStreamIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.Put(makeRun("a"))
		c := s.gateway(DefaultOptions).connect("", "")
		s.Change("a", func(run *v1alpha1.JobRun) { held(1)(run); progress(1)(run) })
		m := c.next()
		mustEqual(t, "the first of two", m.text()+" "+m.last, "leased(a 1) 1")
		m = c.next()
		mustEqual(t, "the last of two", m.text()+" "+m.last, "progress(a 1) 2")
		elsewhere := makeRun("elsewhere")
		elsewhere.Namespace = "other"
		s.Put(elsewhere)
		time.Sleep(16 * time.Second)
		c.close()
		mustEqual(t, "after a heartbeat", c.next().last, "3")
	})
}

// A comment comes again and again, so that nothing in between closes an idle connection.
func TestStreamHasHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newScene(t).gateway(DefaultOptions).connect("", "")
		time.Sleep(heartbeatInterval - time.Second)
		mustEqual(t, "comments at first", c.comments.Load(), 0)
		time.Sleep(4*heartbeatInterval + 2*time.Second)
		mustEqual(t, "comments then", c.comments.Load(), 5)
	})
}

func TestStreamThrottlesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.Put(makeRun("a", held(1)))
		c := s.gateway(DefaultOptions).connect("", "")
		for i := range int64(10) {
			s.Change("a", progress(i+1))
			time.Sleep(30 * time.Millisecond)
		}
		mustEqual(t, "of 10 in 300 ms", c.read(4), "progress(a 1) progress(a 4) progress(a 7) progress(a 10)")
		s.Change("a", progress(11))
		synctest.Wait()
		s.Put(makeRun("b"))
		m := c.next()
		mustEqual(t, "the id while one is held back", m.text()+" "+m.last, "trigger(b) 11")
		s.Change("a", ended(v1alpha1.PhaseFailed))
		mustEqual(t, "the last one comes before the end", c.read(2), "progress(a 11) fail(a)")
	})
}

func TestStreamOfOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		s.Put(makeRun("a", held(1), progress(1)))
		s.Put(makeRun("b"))
		c := g.connect("run=a", "")
		s.Change("b", held(1))
		s.Change("a", progress(2))
		s.Change("a", ended(v1alpha1.PhaseCompleted))
		mustEqual(t, "until the end", c.rest(), "trigger(a) leased(a 1) progress(a 1) progress(a 2) complete(a)")
		mustEqual(t, "of an ended run", g.connect("run=a", "").rest(), "trigger(a) leased(a 1) progress(a 2) complete(a)")
		mustEqual(t, "resumed after the end", g.connect("run=a", "5").code, 204)
		mustEqual(t, "resumed before the end", g.connect("run=a", "3").rest(), "progress(a 2) complete(a)")
		c = g.connect("run=b", "")
		s.Remove("b")
		mustEqual(t, "of a run that is deleted", c.rest(), "trigger(b) leased(b 1) delete(b)")
	})
}

// The stream of a receipt is that of the run that stands for it, also if that is known only later.
func TestStreamOfOneReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		a := s.Put(makeRun("a", held(1)))
		s.Put(makeRun("bound", receipt(a)))
		s.Put(makeRun("unbound", receipt(a), func(run *v1alpha1.JobRun) { run.Status = v1alpha1.JobRunStatus{} }))
		s.Put(makeRun("displaced"))
		synctest.Wait()
		bound, unbound, displaced := g.connect("run=bound", ""), g.connect("run=unbound", ""), g.connect("run=displaced", "")
		s.Change("unbound", receipt(a))
		synctest.Wait()
		s.Change("displaced", receipt(a))
		synctest.Wait()
		s.Change("a", ended(v1alpha1.PhaseFailed))
		mustEqual(t, "bound", bound.rest(), "trigger(a) leased(a 1) coalesced(a unbound) coalesced(a displaced) fail(a)")
		mustEqual(t, "unbound", unbound.rest(), "trigger(a) leased(a 1) coalesced(a displaced) fail(a)")
		mustEqual(t, "displaced", displaced.rest(), "trigger(displaced) trigger(a) leased(a 1) fail(a)")
	})
}

func TestStreamAsksForRightsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		c := g.connect("", "")
		s.deny(apierrors.NewServiceUnavailable("busy"))
		time.Sleep(4 * time.Minute)
		s.Put(makeRun("a"))
		mustEqual(t, "while nobody knows", c.read(1), "trigger(a)")
		s.deny(apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "", errors.New("no")))
		time.Sleep(time.Minute)
		m := c.next()
		mustEqual(t, "kind", m.kind, "error")
		var status metav1.Status
		mustEqual(t, "is JSON", json.Unmarshal(m.data, &status), nil)
		mustEqual(t, "code", status.Code, 403)
		mustEqual(t, "and ends", c.rest(), "")
		mustEqual(t, "metric", testutil.ToFloat64(g.metrics.cut.WithLabelValues(cutRefused)), 1)
		mustEqual(t, "open", testutil.ToFloat64(g.metrics.open), 0)
	})
}

// A client that does not read is cut, and slows no one.
func TestStreamCutsSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		g.request("", "")
		fast := g.connect("", "")
		start := time.Now()
		s.Put(makeRun("a"))
		mustEqual(t, "event", fast.read(1), "trigger(a)")
		mustEqual(t, "after", time.Since(start), 0)
		mustEqual(t, "open", testutil.ToFloat64(g.metrics.open), 2)
		time.Sleep(writeTimeout + time.Second)
		mustEqual(t, "open then", testutil.ToFloat64(g.metrics.open), 1)
		mustEqual(t, "cut", testutil.ToFloat64(g.metrics.cut.WithLabelValues(cutSlow)), 1)
		mustEqual(t, "the fast one", testutil.ToFloat64(g.metrics.open), 1)
	})
}

func TestDrainEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.gateway(DefaultOptions)
		c := g.connect("", "")
		g.Drain()
		mustEqual(t, "events", c.rest(), "")
	})
}
