// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/history"
)

// holding is a lease of a run, as it was seen.
type holding struct {
	run, holder string
	generation  int64
	since       int64
}

// release is that a lease was taken away and that its run waits again, or failed.
type release struct {
	holding
	phase v1alpha1.Phase
	// alive is when the holder's last sign of life was seen, and at when the release was.
	alive, at int64
}

func (r release) took() time.Duration { return time.Duration(r.at - r.alive) }

// observer watches the JobRuns of the namespace, and the Leases of their holders.
type observer struct {
	mu       sync.Mutex
	stored   *history.Stored
	last     map[string]*v1alpha1.JobRun
	held     map[string]holding // by run
	claimed  map[string]int64   // by key: when a claim was seen last
	renewed  map[string]int64   // by name of a Lease
	released []release
}

// observe begins with what happens to the namespace from now on.
func observe() *observer {
	GinkgoHelper()
	o := &observer{
		stored: history.NewStored(), last: map[string]*v1alpha1.JobRun{}, held: map[string]holding{},
		claimed: map[string]int64{}, renewed: map[string]int64{},
	}
	watching, stop := context.WithCancel(ctx)
	var both sync.WaitGroup
	for _, list := range []client.ObjectList{&v1alpha1.JobRunList{}, &coordinationv1.LeaseList{}} {
		Expect(k8s.List(ctx, list, client.InNamespace(ns))).To(Succeed())
		both.Go(func() { follow(watching, list, o.see) })
	}
	DeferCleanup(func() {
		stop()
		both.Wait()
	})
	return o
}

// follow tells each version after what was listed, in order and without a gap,
// and when it was seen.
func follow(ctx context.Context, list client.ObjectList, see func(watch.Event, int64)) {
	defer GinkgoRecover()
	scope, version := client.InNamespace(ns), list.GetResourceVersion()
	for ctx.Err() == nil {
		from := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}}
		events, err := k8s.Watch(ctx, list, scope, from)
		if ctx.Err() != nil {
			return
		}
		Expect(err).NotTo(HaveOccurred())
		for event := range events.ResultChan() {
			if ctx.Err() != nil {
				return // which ends the watch with an error
			}
			Expect(event.Type).NotTo(Equal(watch.Error), "%v", event.Object)
			see(event, history.Now())
			version = event.Object.(client.Object).GetResourceVersion()
		}
	}
}

func (o *observer) see(event watch.Event, at int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch object := event.Object.(type) {
	case *coordinationv1.Lease:
		o.renewed[object.Name] = at
	case *v1alpha1.JobRun:
		if event.Type == watch.Deleted {
			o.stored.Deleted(object, at)
			return
		}
		o.stored.Saw(object, at)
		o.last[object.Name] = object
		o.judge(object, at)
	}
}

// leaseExpired is how the error of a run begins that fails because its lease expired.
const leaseExpired = "Lease expired; "

// judge notes who holds what, and what was taken from whom.
func (o *observer) judge(run *v1alpha1.JobRun, at int64) {
	before, held := o.held[run.Name]
	s := run.Status
	switch {
	case s.Phase == v1alpha1.PhaseLeased && s.Lease.HolderIdentity != "":
		if !held || before.generation != s.Lease.Generation {
			o.held[run.Name] = holding{run.Name, s.Lease.HolderIdentity, s.Lease.Generation, at}
			o.claimed[history.KeyOf(run)] = at
		}
	case s.Phase == v1alpha1.PhaseLeased || !held: // It is fenced, and not released yet.
	default:
		delete(o.held, run.Name)
		if s.Phase == v1alpha1.PhasePending || strings.HasPrefix(s.Error, leaseExpired) {
			o.released = append(o.released, release{before, s.Phase, max(before.since, o.renewed[before.holder]), at})
		}
	}
}

// heldBy are the leases of a worker.
func (o *observer) heldBy(identity string) []holding {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []holding
	for _, h := range o.held {
		if h.holder == identity {
			all = append(all, h)
		}
	}
	return all
}

// releases are those that were seen.
func (o *observer) releases() []release {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.released)
}

// releaseOf is how a lease was taken away; nil if it was not.
func (o *observer) releaseOf(h holding) *release {
	for _, r := range o.releases() {
		if r.run == h.run && r.generation == h.generation {
			return &r
		}
	}
	return nil
}

// goesOn reports whether the key of a lease that was taken away was claimed again.
func (o *observer) goesOn(h holding) bool {
	r := o.releaseOf(h)
	o.mu.Lock()
	defer o.mu.Unlock()
	return r != nil && o.claimed[history.KeyOf(o.last[h.run])] > r.at
}

// run is a run as it was seen last; nil if it was not.
func (o *observer) run(name string) *v1alpha1.JobRun {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last[name]
}

// runs are all that were seen.
func (o *observer) runs() []*v1alpha1.JobRun {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []*v1alpha1.JobRun
	for _, run := range o.last {
		all = append(all, run)
	}
	return all
}

// judgement is what the API server stored: operations, and what must not be.
func (o *observer) judgement() (operations []history.Operation, violations []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.stored.Operations()), slices.Clone(o.stored.Violations())
}
