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

// holding is a lease of a run that the observer saw.
type holding struct {
	run, holder string
	generation  int64
	since       int64
}

// release is the end of a lease that the operator released: its run waits again, or failed.
type release struct {
	holding
	phase v1alpha1.Phase
	// alive is when the holder's last renewal was seen, and at is when the release was seen.
	alive, at int64
}

func (r release) took() time.Duration { return time.Duration(r.at - r.alive) }

// observer watches the JobRuns of the namespace, and the Leases of their holders.
type observer struct {
	mu       sync.Mutex
	stored   *history.Stored
	last     map[string]*v1alpha1.JobRun
	held     map[string]holding // by run
	claimed  map[string]int64   // when the last claim was seen, by key
	renewed  map[string]int64   // when the last renewal was seen, by name of the Lease
	released []release
}

// observe starts an observer of the namespace.
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

// follow lists the objects, and calls see with each later event, in order and without gaps, and the time at which it was
// seen.
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

// leaseExpired begins the error of a run that failed because its lease expired.
const leaseExpired = "Lease expired; "

// judge updates held and released for a new version of a run.
func (o *observer) judge(run *v1alpha1.JobRun, at int64) {
	before, held := o.held[run.Name]
	s := run.Status
	switch {
	case s.Phase == v1alpha1.PhaseLeased && s.Lease.HolderIdentity != "":
		if !held || before.generation != s.Lease.Generation {
			o.held[run.Name] = holding{run.Name, s.Lease.HolderIdentity, s.Lease.Generation, at}
			o.claimed[history.KeyOf(run)] = at
		}
	case s.Phase == v1alpha1.PhaseLeased || !held: // The run is fenced, but not released yet.
	default:
		delete(o.held, run.Name)
		if s.Phase == v1alpha1.PhasePending || strings.HasPrefix(s.Error, leaseExpired) {
			o.released = append(o.released, release{before, s.Phase, max(before.since, o.renewed[before.holder]), at})
		}
	}
}

// heldBy returns the leases of a worker.
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

// releases returns all releases so far.
func (o *observer) releases() []release {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.released)
}

// releaseOf returns the release of a lease, or nil.
func (o *observer) releaseOf(h holding) *release {
	for _, r := range o.releases() {
		if r.run == h.run && r.generation == h.generation {
			return &r
		}
	}
	return nil
}

// goesOn reports whether the key of a released lease was claimed again.
func (o *observer) goesOn(h holding) bool {
	r := o.releaseOf(h)
	o.mu.Lock()
	defer o.mu.Unlock()
	return r != nil && o.claimed[history.KeyOf(o.last[h.run])] > r.at
}

// run returns the latest version of a run, or nil.
func (o *observer) run(name string) *v1alpha1.JobRun {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last[name]
}

// runs returns the latest version of every run.
func (o *observer) runs() []*v1alpha1.JobRun {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []*v1alpha1.JobRun
	for _, run := range o.last {
		all = append(all, run)
	}
	return all
}

// judgement returns the operations and the violations of history.Stored.
func (o *observer) judgement() (operations []history.Operation, violations []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.stored.Operations()), slices.Clone(o.stored.Violations())
}
