// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// delays is a queue that records the delay of each run that is added.
type delays struct {
	workqueue.TypedRateLimitingInterface[Request]
	after map[string]time.Duration
	// length is the number of requests that were in the queue before.
	length int
}

func (d *delays) AddAfter(request Request, after time.Duration) {
	d.after[cmp.Or(request.Job, request.Run, request.RunKey)] = after
}

func (d *delays) Len() int { return d.length }

func TestSweep(t *testing.T) {
	// The runs ended one minute before now.
	ended := func(name string) *wrappers.JobRunWrapper { return made(name).Ended(v1alpha1.PhaseCompleted) }
	future := ended("future").TTL(90) // Its TTL counts from the first sweep.
	future.Status.CompletionTime = &metav1.Time{Time: now.Add(time.Hour)}
	terminating := ended("terminating").TTL(0)
	terminating.DeletionTimestamp = &now
	runs := toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)
	for _, run := range []*wrappers.JobRunWrapper{
		ended("over").TTL(30), ended("soon").TTL(90), ended("next").TTL(120), ended("later").TTL(121), ended("kept"),
		made("waiting").TTL(0).Pending(), made("executing").TTL(0).Leased(1, "5"), future, terminating,
	} {
		if err := runs.Add(run.Obj()); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench()
	for _, want := range []map[string]time.Duration{
		{"over": 0, "soon": 30 * time.Second, "next": time.Minute},
		{"over": 0, "soon": 0, "next": 0, "later": time.Second, "future": 30 * time.Second},
	} {
		queue := &delays{after: map[string]time.Duration{}}
		b.sweep(runs, queue)
		if diff := gocmp.Diff(want, queue.after); diff != "" {
			t.Errorf("enqueued (-want +got):\n%s", diff)
		}
		b.clock.Step(time.Minute)
	}
	queue := &delays{after: map[string]time.Duration{}, length: sweepRoom - 1}
	if b.sweep(runs, queue); len(queue.after) != 1 {
		t.Errorf("enqueued in a queue with room for one: %v", queue.after)
	}
	b.Shares = partOf() // Another replica owns the key.
	queue = &delays{after: map[string]time.Duration{}}
	if b.sweep(runs, queue); len(queue.after) > 0 {
		t.Errorf("enqueued without owning the key: %v", queue.after)
	}
}

// A JobRun without its own TTL has that of --run-ttl, and a receipt goes with its run.
func TestSweepRunTTL(t *testing.T) {
	runs := toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)
	for _, run := range []*wrappers.JobRunWrapper{ // All but one ended one minute before now.
		made("run").Ended(v1alpha1.PhaseCompleted), answered("receipt", "run", "4").BoundTo("run").Settled(),
		made("own").TTL(3600).Ended(v1alpha1.PhaseCompleted), made("executing").Leased(1, "5"),
	} {
		run.Status.CompletionTime = run.CreationTimestamp.DeepCopy()
		if err := runs.Add(run.Obj()); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench()
	b.RunTTL = 100 * time.Second
	queue := &delays{after: map[string]time.Duration{}}
	b.sweep(runs, queue)
	want := map[string]time.Duration{"run": 40 * time.Second, "receipt": 40 * time.Second}
	if diff := gocmp.Diff(want, queue.after); diff != "" {
		t.Errorf("enqueued (-want +got):\n%s", diff)
	}
}
