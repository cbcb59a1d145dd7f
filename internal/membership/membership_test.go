// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// process is a process whose steps a test makes one by one.
type process struct {
	*Membership
	t     *testing.T
	store *wrappers.Store
	clock *clocktesting.FakeClock
	// unreachable makes each request fail.
	unreachable bool
	// lags is the error of Follows.
	lags error
	// gained are the names of the keys that were gained since the last look.
	gained []string
}

func newProcess(t *testing.T) *process {
	p := &process{t: t, clock: clocktesting.NewFakeClock(start)}
	p.store = wrappers.NewStore(nil)
	api := interceptor.NewClient(p.store, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if p.unreachable {
				return errors.New("unreachable")
			}
			return c.Patch(ctx, o, patch, opts...)
		},
	})
	p.Membership = New(Options{
		Client: api, Namespace: "jobrun-system", LeaderLease: "jobrun-controller-manager", Clock: p.clock,
		Follows: func() error { return p.lags },
	}, Identity{Lease: "jobrun-member-b", Holder: "host_b"})
	p.synced = func() bool { return true }
	p.OnGain(func(gained func(namespace, home string) bool) {
		for _, home := range keys(100) {
			if gained(home.Namespace, home.Name) {
				p.gained = append(p.gained, home.Name)
			}
		}
	})
	return p
}

// step renews if it is able to, as renewUntil does, and updates the share, as judge does. The watch shows the renewal.
func (p *process) step() error {
	p.t.Helper()
	_, err := p.attempt(p.t.Context())
	p.echo()
	p.update(p.t.Context())
	return err
}

// show tells the process of an event of the watch, as its cache shows the object.
func (p *process) show(object any, gone bool) {
	p.t.Helper()
	if l, ok := object.(*coordinationv1.Lease); ok {
		object = l.DeepCopy()
	}
	slim, err := cache.Slim(object)
	must(p.t, err)
	p.see(slim, gone)
}

// echo shows the process its own Lease.
func (p *process) echo() {
	if l := p.own(); l != nil {
		p.show(l, false)
	}
}

func (p *process) own() *coordinationv1.Lease {
	p.t.Helper()
	l := &coordinationv1.Lease{}
	err := p.store.Get(p.t.Context(), client.ObjectKey{Namespace: p.Namespace, Name: p.name}, l)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// looksAtAllItOwns checks that the keys that were gained since the last call are all that the process owns.
func (p *process) looksAtAllItOwns() {
	p.t.Helper()
	var owns []string
	for _, home := range keys(100) {
		if p.Owns(home.Namespace, home.Name) {
			owns = append(owns, home.Name)
		}
	}
	if len(owns) == 0 || !slices.Equal(owns, p.gained) {
		p.t.Errorf("it looks at %d homes and owns %d", len(p.gained), len(owns))
	}
	p.gained = nil
}

func (p *process) ownsNothing() {
	p.t.Helper()
	for _, home := range keys(100) {
		if p.Owns(home.Namespace, home.Name) {
			p.t.Fatalf("it owns %v", home)
		}
	}
	if n := p.Members(); n != 0 || p.Active() {
		p.t.Errorf("it counts %d members", n)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAMemberJoinsAndOthersLeave(t *testing.T) {
	p := newProcess(t)
	a := lease("jobrun-member-a", at(-1))
	must(t, p.store.Create(t.Context(), a))
	p.show(a, false)
	p.ownsNothing()
	must(t, p.step())
	if l := p.own(); l == nil || l.Labels[v1alpha1.LabelMember] != sharing || l.Annotations[v1alpha1.AnnotationProtocolLevel] != strconv.Itoa(ProtocolLevel) || holderOf(l) != "host_b" {
		t.Fatalf("its Lease: %v", l)
	}
	if p.Members() != 2 || len(p.gained) > 70 {
		t.Errorf("%d members, %d of 100 homes", p.Members(), len(p.gained))
	}
	p.looksAtAllItOwns()

	p.clock.SetTime(at(1.5))
	must(t, p.step())
	p.show(lease("jobrun-member-c", at(0)), false)
	p.update(t.Context())
	if p.Members() != 3 || len(p.gained) > 0 {
		t.Errorf("%d members, %d homes gained by another one's arrival", p.Members(), len(p.gained))
	}

	p.clock.SetTime(at(4.9))
	must(t, p.step())
	p.clock.SetTime(at(5))
	p.update(t.Context()) // a has expired.
	p.show(lease("jobrun-member-c", at(0)), true)
	p.update(t.Context()) // c gave its Lease up.
	if p.Members() != 1 || len(p.gained) < 50 {
		t.Errorf("%d members, %d homes gained when the others left", p.Members(), len(p.gained))
	}

	p.clock.SetTime(at(66))
	must(t, p.step())
	err := p.store.Get(t.Context(), client.ObjectKey{Namespace: p.Namespace, Name: "jobrun-member-a"}, &coordinationv1.Lease{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the Lease of the dead member: %v", err)
	}
}

// A process that cannot renew leaves in time, and begins anew: it dropped events meanwhile.
func TestAMemberThatCannotRenewIsOut(t *testing.T) {
	for name, hinder := range map[string]func(p *process) (end func()){
		"the API server is unreachable": func(p *process) func() {
			p.unreachable = true
			return func() { p.unreachable = false }
		},
		"the caches do not follow": func(p *process) func() {
			p.lags = errors.New("a list cannot be decoded")
			return func() { p.lags = nil }
		},
		"the queue does not move": func(p *process) func() {
			end := p.pulse.begin(at(-100))
			return func() { end(p.clock.Now()) }
		},
		"its Lease was deleted meanwhile": func(p *process) func() {
			p.unreachable = true
			must(p.t, p.store.Delete(p.t.Context(), p.own()))
			return func() { p.unreachable = false }
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t)
			must(t, p.step())
			p.looksAtAllItOwns()
			end := hinder(p)
			p.clock.SetTime(at(4.9))
			if p.step() == nil || p.Members() != 1 {
				t.Errorf("before it expires: %d members", p.Members())
			}
			p.clock.SetTime(at(5))
			p.ownsNothing() // even before it notices
			if p.step() == nil {
				t.Error("it renewed")
			}
			end()
			must(t, p.step())
			p.looksAtAllItOwns()
		})
	}
}

// A process that was paused renews before it has noticed that its Lease was over.
func TestAPauseIsNoticed(t *testing.T) {
	p := newProcess(t)
	must(t, p.step())
	p.looksAtAllItOwns()
	p.clock.SetTime(at(60))
	must(t, p.step())
	p.looksAtAllItOwns()
}

// A process whose watch of Leases is late does not know the members.
func TestALateWatchOfLeases(t *testing.T) {
	p := newProcess(t)
	must(t, p.renew(t.Context()))
	p.clock.SetTime(at(3))
	must(t, p.able())
	must(t, p.renew(t.Context()))
	p.clock.SetTime(at(6))
	if p.able() == nil {
		t.Error("it renews, though it has not seen its renewal for 5 s")
	}
	p.echo()
	must(t, p.able())
}

func TestAMemberThatStops(t *testing.T) {
	p := newProcess(t)
	must(t, p.step())
	end := p.Enter()
	left := make(chan error, 1)
	go func() { left <- p.leave(t.Context()) }()
	for range 5 { // It looks several times whether the reconcile has ended.
		for !p.clock.HasWaiters() && len(left) == 0 {
			time.Sleep(time.Millisecond)
		}
		p.ownsNothing()
		if len(left) > 0 || p.own() == nil {
			t.Fatal("it left during a reconcile")
		}
		p.clock.Step(idleCheck)
	}
	end()
	for len(left) == 0 {
		p.clock.Step(idleCheck)
		time.Sleep(time.Millisecond)
	}
	must(t, <-left)
	if p.own() != nil {
		t.Error("it keeps its Lease")
	}
}

func TestTheLeaderOwnsAll(t *testing.T) {
	p := newProcess(t)
	p.show(lease("jobrun-member-a", at(0)), false)
	elected := make(chan struct{})
	p.Elected = elected
	must(t, p.step())
	if p.own().Labels[v1alpha1.LabelMember] != electing {
		t.Error("its Lease says that it shares the homes out")
	}
	if p.Active() {
		t.Error("it is active before it is elected")
	}
	close(elected)
	for _, home := range keys(100) {
		if !p.Owns(home.Namespace, home.Name) {
			t.Fatalf("it does not own %v", home)
		}
	}
	if p.Members() != 1 {
		t.Errorf("%d members", p.Members())
	}
}

// Homes without a member are those that no replica reconciles.
func TestCheck(t *testing.T) {
	leader := lease("jobrun-controller-manager", at(0))
	leader.Labels = nil
	electing := func(p *process) { p.Elected = make(chan struct{}) }
	for name, test := range map[string]struct {
		prepare func(p *process)
		want    string
	}{
		"no replica":                {func(*process) {}, "this one is not a member yet"},
		"this one":                  {func(p *process) { must(p.t, p.step()) }, ""},
		"another one":               {func(p *process) { p.show(lease("jobrun-member-a", at(0)), false) }, ""},
		"one that is gone":          {func(p *process) { p.show(lease("jobrun-member-a", at(0)), true) }, "not a member yet"},
		"one that has expired":      {func(p *process) { p.show(lease("jobrun-member-a", at(0)), false); p.clock.SetTime(at(60)) }, "not a member yet"},
		"a leader of a former kind": {func(p *process) { p.show(leader, false) }, ""},
		"this one cannot renew": {func(p *process) {
			p.unreachable = true
			_, err := p.attempt(p.t.Context())
			p.setLack(err)
		}, "this one is not a member: unreachable"},
		"electing, without a leader": {func(p *process) { electing(p); must(p.t, p.step()) }, "there is no leader"},
		"electing, with a leader":    {func(p *process) { electing(p); p.show(leader, false) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t)
			test.prepare(p)
			if err := p.Check(nil); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// The watch tells of Leases in other namespaces, of other Leases and of tombstones.
func TestOtherLeases(t *testing.T) {
	p := newProcess(t)
	elsewhere, worker := lease("jobrun-member-a", at(0)), lease("worker", at(0))
	elsewhere.Namespace, worker.Labels = "team", nil
	p.show(elsewhere, false)
	p.show(worker, false)
	p.show(toolscache.DeletedFinalStateUnknown{}, true)
	must(t, p.step())
	if p.Members() != 1 || p.Level() != ProtocolLevel {
		t.Errorf("%d members of level %d", p.Members(), p.Level())
	}
	p.synced = func() bool { return false }
	if p.Listed() || p.Level() != formerLevel || p.able() == nil {
		t.Error("it does not wait for the list of Leases")
	}
}
