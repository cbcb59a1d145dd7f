// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// part is a share of the homes with these names.
type part struct {
	homes    map[string]bool
	entered  int
	inactive bool
}

func partOf(homes ...string) *part {
	p := &part{homes: map[string]bool{}}
	for _, name := range homes {
		p.homes[name] = true
	}
	return p
}

func (p *part) Owns(_, home string) bool { return p.homes[home] }

func (p *part) Active() bool { return !p.inactive }

func (p *part) OnGain(func(gained func(namespace, home string) bool)) {}

func (p *part) Enter() (end func()) {
	p.entered++
	return func() { p.entered-- }
}

var (
	keyHome  = runkey.Home(made("a").Key("k").Obj())
	otherKey = runkey.Home(made("a").Key("other").Obj())
	runHome  = runkey.RunHome("free")
)

func newQueue(t *testing.T) queue {
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[Request]())
	t.Cleanup(q.ShutDown)
	return q
}

// enqueued empties a queue.
func enqueued(q queue) []Request {
	var requests []Request
	for q.Len() > 0 {
		request, _ := q.Get()
		q.Done(request)
		requests = append(requests, request)
	}
	return requests
}

// The owner of a key reconciles the requests for its runs too, which clean up and follow a batch.
func TestOnlyTheOwnerOfAHomeEnqueues(t *testing.T) {
	keyed, free := made("a").Key("k").Ended(v1alpha1.PhaseCompleted).Obj(), makeRun("free").Obj()
	idempotent := v1alpha1.IdempotencyKeyName(keyed.Spec.JobName, "i")
	delivered := made("d").Key("k").IdempotencyKey("i").Obj()
	for name, tc := range map[string]struct {
		object client.Object
		owned  *part
		want   []Request
	}{
		"a run with a key":           {keyed, partOf(keyHome), []Request{{Namespace: keyed.Namespace, RunKey: keyHome}, runRequest(keyed.Namespace, "a")}},
		"another replica has it":     {keyed, partOf(otherKey, runkey.RunHome("a")), nil},
		"a run without a key":        {free, partOf(runHome), []Request{runRequest(free.Namespace, "free")}},
		"another replica has it too": {free, partOf(keyHome), nil},
		"an idempotency key":         {delivered, partOf(idempotent), []Request{{Namespace: keyed.Namespace, RunKey: idempotent}}},
		"a Job of a keyed run":       {makeJob(keyed, 1).Obj(), partOf(keyHome), []Request{{Namespace: keyed.Namespace, RunKey: keyHome}, runRequest(keyed.Namespace, "a")}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(keyed, free, delivered)
			b.Shares = tc.owned
			q := newQueue(t)
			b.handler().Create(t.Context(), event.CreateEvent{Object: tc.object}, q)
			if got := enqueued(q); !slices.Equal(got, tc.want) {
				t.Errorf("enqueued %v", got)
			}
		})
	}
}

// A request may wait in the queue while its home goes to another replica.
func TestAHomeThatIsLostIsNotReconciled(t *testing.T) {
	for _, owned := range []bool{true, false} {
		b := newBench(makeKey("k").Pending("a").Obj(), makeRun("a").Key("k").Template().Created().Obj())
		p := partOf()
		p.homes[home.RunKey] = owned
		b.Shares = p
		if _, err := b.Reconcile(t.Context(), home); err != nil {
			t.Fatal(err)
		}
		if acted := len(b.store.Writes()) > 0; acted != owned {
			t.Errorf("owned: %v, wrote %v", owned, b.store.Writes())
		}
		if p.entered != 0 {
			t.Errorf("%d reconciles have not ended", p.entered)
		}
	}
}

// The new owner looks at what the initial list would show, and measures all times anew.
func TestAHomeThatIsGainedIsLookedAt(t *testing.T) {
	waits, other, free := made("a").Key("k").Pending().Obj(), made("b").Key("other").Pending().Obj(), makeRun("free").Obj()
	key := makeKey("k").Pending("a").Obj()
	key.Spec.Unconfirmed = []v1alpha1.UnconfirmedJob{{Job: "b-1", Token: "t"}}
	b := newBench(waits, other, free, key)
	b.Shares = partOf(keyHome, otherKey)
	stores := []toolscache.Store{toolscache.NewStore(toolscache.MetaNamespaceKeyFunc), toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)}
	for _, run := range []*v1alpha1.JobRun{waits, other, free} {
		if err := stores[0].Add(run); err != nil {
			t.Fatal(err)
		}
	}
	if err := stores[1].Add(key); err != nil {
		t.Fatal(err)
	}
	seen := []string{deadlineSubject(waits.UID), deadlineSubject(other.UID), reservationSubject(key.Namespace, key.Name), noteSubject(key.Namespace, key.Spec.Unconfirmed[0])}
	for _, subject := range seen {
		b.sightings.unchangedFor(subject, 1)
	}

	// Of the two homes that it gained, it has lost one already.
	g, q := newGains(), newQueue(t)
	g.add(partOf(keyHome).Owns)
	g.add(partOf(runHome).Owns)
	b.takeOver(t.Context(), []store{stores[0], stores[1]}, g.take(), q)
	if got, want := enqueued(q), []Request{home}; !slices.Equal(got, want) {
		t.Errorf("enqueued %v", got)
	}
	for i, want := range []bool{false, true, false, false} {
		if b.sightings.knows(seen[i]) != want {
			t.Errorf("%s is known: %v", seen[i], !want)
		}
	}
	b.takeOver(t.Context(), []store{stores[0], stores[1]}, g.take(), q)
	if got := enqueued(q); got != nil {
		t.Errorf("enqueued again: %v", got)
	}
}

// The sum over all replicas is right.
func TestAReplicaCountsWhatItOwns(t *testing.T) {
	count := func(b bench) (values []float64) {
		registry := prometheus.NewRegistry()
		registry.MustRegister(activeCollector{b.Reconciler})
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families { // jobrun_active_homes; jobrun_active_runs Leased, None, Pending; jobrun_waiting_runs other
			for _, m := range family.GetMetric() {
				values = append(values, m.GetGauge().GetValue())
			}
		}
		return values
	}
	b := newBench(
		makeRun("a").Key("k").Leased(1, "5").Obj(), makeRun("b").Key("k").Pending().Obj(), makeRun("c").Key("other").Pending().Obj(), makeRun("free").Obj(),
	)
	inactive := partOf(keyHome, otherKey, runHome)
	inactive.inactive = true
	for _, tc := range []struct {
		shares Shares
		want   []float64
	}{
		{nil, []float64{3, 1, 1, 2, 3}}, {partOf(keyHome), []float64{1, 1, 0, 1, 1}},
		{partOf(otherKey, runHome), []float64{2, 0, 1, 1, 2}}, {inactive, []float64{0, 0, 0, 0, 0}},
	} {
		b.Shares = tc.shares
		if got := count(b); !slices.Equal(got, tc.want) {
			t.Errorf("%v: %v", tc.shares, got)
		}
	}
}
