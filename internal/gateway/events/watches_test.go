// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// waiting waits for the outcome of a run at a gateway, from the state that it is given. The result is what the wait returns.
func (g *gateway) waiting(run *v1alpha1.JobRun) <-chan string {
	told := make(chan string, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		outcome, err := jobrun.New(g.SharedWatches(g.scene), "default").WaitFor(ctx, run)
		switch {
		case err != nil:
			told <- err.Error()
		default:
			told <- string(outcome.JobRun.Outcome()) + " " + string(outcome.JobRun.Status.Output.Raw)
		}
	}()
	return told
}

func completed(output string) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Status.Phase = v1alpha1.PhaseCompleted
		run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(output)}
	}
}

// A wait sees the outcome, whatever happens to the watch that it shares and whenever it begins. It needs no watch of its own.
func TestWaitsWithASharedWatch(t *testing.T) {
	const done = `Completed "yes"`
	for name, tc := range map[string]struct {
		// before happens after the wait's state was read, and before the wait begins; then after it has begun.
		before, then func(*scene)
		want         string
	}{
		"the end comes later":   {nil, func(s *scene) { s.Change("a", completed(`"yes"`)) }, done},
		"the end came before":   {func(s *scene) { s.Change("a", completed(`"yes"`)) }, nil, done},
		"the run is deleted":    {nil, func(s *scene) { s.Remove("a") }, "run a was cancelled: it was deleted before it ended"},
		"the run was deleted":   {func(s *scene) { s.Remove("a") }, nil, "not found"},
		"a name is used again":  {nil, func(s *scene) { s.Remove("a"); s.Put(makeRun("a")) }, "run a was cancelled: it was deleted before it ended"},
		"a name was used again": {func(s *scene) { s.Remove("a"); s.Put(makeRun("a")) }, nil, "not found"},
		"a name is used again while the watch is lost": {nil, func(s *scene) {
			s.Cut()
			s.Remove("a")
			s.Put(makeRun("a"))
			s.Forget()
		}, "not found"},
		"the watch is lost": {nil, func(s *scene) {
			s.Cut()
			s.Change("a", held(1))
			time.Sleep(time.Second)
			s.Change("a", completed(`"yes"`))
		}, done},
		"the watch is lost, and what happened is forgotten": {nil, func(s *scene) {
			s.Cut()
			s.Change("a", completed(`"yes"`))
			s.Forget()
		}, done},
		"the run goes while the watch is lost": {nil, func(s *scene) {
			s.Cut()
			s.Remove("a")
			s.Forget()
		}, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				run := s.Put(makeRun("a"))
				g := s.gateway(DefaultOptions)
				defer g.stop()
				if tc.before != nil {
					tc.before(s)
					synctest.Wait()
				}
				told := g.waiting(run)
				synctest.Wait()
				if n := s.Watches(); n != 1 {
					t.Errorf("%d watches", n)
				}
				if tc.then != nil {
					tc.then(s)
				}
				if got := <-told; got != tc.want && !(tc.want == "not found" && strings.Contains(got, tc.want)) {
					t.Errorf("got %q, want %q", got, tc.want)
				}
				synctest.Wait()
				g.hub.mu.Lock()
				defer g.hub.mu.Unlock()
				if len(g.hub.watches) > 0 {
					t.Errorf("%d watches are left", len(g.hub.watches))
				}
			})
		})
	}
}

// A gateway that has just started knows no JobRun yet. A wait goes on with its first list.
func TestAWaitBeforeTheFirstList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		run := s.Put(makeRun("a"))
		g := &gateway{scene: s, Streams: &Streams{hub: NewHub(logr.Discard(), 1<<20)}}
		told := g.waiting(run)
		synctest.Wait()
		s.Change("a", completed(`"yes"`))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.Follow(ctx, ListerWatcher(s))
		if got := <-told; got != `Completed "yes"` {
			t.Error(got)
		}
	})
}

// A watch whose reader is slow has only the latest state, and ends if it would keep too much.
func TestASlowReaderOfASharedWatch(t *testing.T) {
	h := NewHub(logr.Discard(), 1<<20)
	name := types.NamespacedName{Namespace: "default", Name: "a"}
	w, _ := h.watch(name, 1)
	run := makeRun("a")
	run.UID = "uid"
	for version := uint64(2); version < 500; version++ {
		run.ResourceVersion = strconv.FormatUint(version, 10)
		h.tell(run, version, false)
	}
	h.tell(run, 499, true) // It was passed.
	if event, _ := w.next(); event.Object.(client.Object).GetResourceVersion() != "499" || event.Type != watch.Modified || len(w.queue) != 0 {
		t.Errorf("%+v, and %d more", event, len(w.queue))
	}
	for version := uint64(500); version < 500+2*maxQueued; version++ {
		run.UID = types.UID(strconv.FormatUint(version, 10))
		h.tell(run, version, true)
	}
	if event, _ := w.next(); event.Type != watch.Error || len(w.queue) != 0 {
		t.Errorf("%+v, and %d more", event, len(w.queue))
	}
	w.Stop()
	if len(h.watches) > 0 {
		t.Error("it is left")
	}
}

// Watches of anything but one JobRun are those of the API server.
func TestOtherWatchesAreNotShared(t *testing.T) {
	s := apiserver.New()
	shared := sharedWatches{s, NewHub(logr.Discard(), 1<<20)}
	everything := &client.ListOptions{Namespace: "default", Raw: &metav1.ListOptions{ResourceVersion: "1"}}
	w, err := shared.Watch(t.Context(), &v1alpha1.JobRunList{}, everything)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if s.Watches() != 1 {
		t.Errorf("%d watches", s.Watches())
	}
}
