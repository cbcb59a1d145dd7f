// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// completePatience bounds the wait until the last writes are recorded.
const completePatience = time.Minute

// records has both histories of a scenario.
type records struct {
	requests   []request
	writes     []write
	pulse      interval
	vandalised map[types.UID]bool
	// creates has the requests with which managers created Jobs.
	creates []create
	// handedOver is the number of JobRuns whose status several managers wrote.
	handedOver int
}

// interval relates times to the revisions of etcd: see pulse.
type interval interface {
	after(time.Duration) uint64
	before(time.Duration) uint64
	earliest(uint64) time.Duration
}

// recording is a history that is being recorded.
type recording struct {
	clock *stopwatch
	etcd  *etcdRecorder
	pulse *pulse
}

func (s *Suite) record(ctx context.Context, w *world) (*recording, error) {
	r := &recording{clock: &stopwatch{began: time.Now()}}
	w.crowd.clock = r.clock
	var err error
	if r.etcd, err = newEtcdRecorder(ctx, s.cluster.etcd, scheme, r.clock); err != nil {
		return nil, fmt.Errorf("record what etcd stores: %w", err)
	}
	r.pulse = startPulse(ctx, s.cluster.etcd, r.clock)
	return r, nil
}

func (r *recording) close() {
	r.pulse.close()
	r.etcd.close()
}

// history returns the records so far. They include every write that is stored by now.
func (r *recording) history(ctx context.Context, w *world) (*records, error) {
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	if err := r.etcd.complete(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	requests := w.crowd.log.requests()
	if len(requests) == 0 {
		return nil, errors.New("no caller has called")
	}
	creates, handedOver, err := w.cluster.traffic.in(w.namespace, r.clock)
	if err != nil {
		return nil, err
	}
	return &records{
		requests: requests, writes: r.etcd.until(), pulse: r.pulse, vandalised: w.vandalised,
		creates: creates, handedOver: handedOver,
	}, nil
}

// in returns the writes in a namespace.
func (h *records) in(namespace string) []write {
	var found []write
	for _, w := range h.writes {
		if w.Object().GetNamespace() == namespace {
			found = append(found, w)
		}
	}
	return found
}

// left returns the objects that exist after the writes.
func left(writes []write) []client.Object {
	objects := map[types.UID]client.Object{}
	for _, w := range writes {
		if w.New != nil {
			objects[w.New.GetUID()] = w.New
		} else {
			delete(objects, w.Old.GetUID())
		}
	}
	var found []client.Object
	for _, object := range objects {
		found = append(found, object)
	}
	return found
}

// life is the history of one JobRun.
type life struct {
	first, last *v1alpha1.JobRun
	created     uint64 // revision
	deleted     bool
	// ends has the outcomes of the JobRun in order.
	ends []string
	// stood has the names in status.runRef.
	stood map[string]bool
}

// lives returns the lives of all JobRuns, by UID.
func lives(writes []write) map[types.UID]*life {
	all := map[types.UID]*life{}
	for _, w := range writes {
		run, ok := w.Object().(*v1alpha1.JobRun)
		if !ok {
			continue
		}
		l := all[run.UID]
		if l == nil {
			l = &life{first: run, created: w.Revision, stood: map[string]bool{}}
			all[run.UID] = l
		}
		l.last, l.deleted = run, w.New == nil
		l.note(outcomesOf(run))
		if ref := run.Status.RunRef; ref != nil {
			l.stood[ref.Name] = true
		}
	}
	return all
}

// note adds outcomes that differ from the last one.
func (l *life) note(outcomes []string) {
	for _, o := range outcomes {
		if n := len(l.ends); n == 0 || l.ends[n-1] != o {
			l.ends = append(l.ends, o)
		}
	}
}

// outcomesOf returns the outcomes in a JobRun's conditions. More than one is a violation.
func outcomesOf(run *v1alpha1.JobRun) []string {
	var found []string
	for _, c := range run.Status.Conditions {
		switch c.Type {
		case v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionCancelled:
			if c.Status == "True" {
				found = append(found, c.Type)
			}
		}
	}
	return found
}
