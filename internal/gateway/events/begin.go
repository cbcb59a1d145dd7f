// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// beginning is how a stream begins, before what its reader has.
type beginning struct {
	// over reports whether there is nothing to tell any more.
	over bool
	// version is the version up to which the client has everything, before the groups.
	version uint64
	// reset is why the client must read the list anew, or empty.
	reset  string
	groups []*group
	// last reports whether the stream ends after the groups.
	last bool
}

// begin decides how a stream begins, and moves the reader behind that. opened is the version of which the reader was opened.
func (s *Streams) begin(ctx context.Context, r *reader, asked request, opened uint64) (beginning, error) {
	if asked.run != "" {
		return s.beginRun(ctx, r, asked, opened)
	}
	if !asked.resumes {
		return beginning{version: opened}, nil
	}
	begin := s.resume(ctx, r, asked)
	if begin.reset != "" {
		begin.version = r.restart()
	}
	return begin, nil
}

// beginRun is begin for the stream of one run.
func (s *Streams) beginRun(ctx context.Context, r *reader, asked request, opened uint64) (beginning, error) {
	run, err := StandIn(ctx, s.api, r.namespace, asked.run)
	if err != nil {
		return beginning{}, err
	}
	r.follow(run.UID)
	var begin beginning
	switch {
	case !asked.resumes:
	case asked.last == 0:
		begin.reset = unknownID
	case run.HasOutcome() && !changedAfter(run, asked.last):
		return beginning{over: true}, nil
	case run.HasOutcome(): // What was missed is all that is to be told.
		missed, err := s.past.since(ctx, asked.caller, r.namespace, fields.Set{"metadata.name": run.Name}, asked.last)
		if err == nil {
			return beginning{version: asked.last, groups: []*group{missed}, last: true}, nil
		}
		begin.reset = err.Error()
	default:
		begin = s.resume(ctx, r, asked)
	}
	if !asked.resumes || begin.reset != "" {
		begin.groups, err = s.state(r, run, opened)
	}
	return begin, err
}

const unknownID = "the Last-Event-ID is not one of this API"

// resume makes the reader go on after the last version that a client has, or says why it cannot.
func (s *Streams) resume(ctx context.Context, r *reader, asked request) beginning {
	last := asked.last
	if last == 0 {
		return beginning{reset: unknownID}
	}
	switch r.resume(last) {
	case covered:
		return beginning{version: last}
	case ahead:
		newest, err := s.past.newest(ctx, r.namespace)
		if err == nil && last <= newest {
			return beginning{version: last} // This gateway lags behind the one before.
		}
		if err == nil {
			err = fmt.Errorf("the Last-Event-ID is newer than the latest version, %d", newest)
		}
		return beginning{reset: err.Error()}
	}
	missed, err := s.past.since(ctx, asked.caller, r.namespace, fields.Set{}, last)
	if err == nil && r.resume(missed.version) == forgotten {
		err = errors.New("too much happened meanwhile")
	}
	if err != nil {
		s.log.V(1).Info("Cannot tell what a client missed", "namespace", r.namespace, "since", last, "reason", err.Error())
		return beginning{reset: err.Error()}
	}
	return beginning{version: last, groups: []*group{missed}}
}

// maxHops bounds how many receipts StandIn follows. A receipt names a run that stands for it itself. Only while that run
// becomes a receipt, too, there are more.
const maxHops = 8

// StandIn reads a JobRun, or of a bound receipt the run that stands for it. api must not read from a cache. The error is a
// 404 if there is none.
func StandIn(ctx context.Context, api client.Reader, namespace, name string) (*v1alpha1.JobRun, error) {
	next := v1alpha1.ObjectReference{Name: name}
	for range maxHops {
		run := &v1alpha1.JobRun{}
		if err := api.Get(ctx, types.NamespacedName{Namespace: namespace, Name: next.Name}, run); err != nil {
			return nil, jobrun.Classify(err)
		}
		if next.UID != "" && next.UID != run.UID {
			break
		}
		ref := standsFor(run)
		if ref == nil {
			return run, nil
		}
		next = *ref
	}
	return nil, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), next.Name)
}

// state returns the events that the state of a run shows, and makes the reader go on from there. The state was read after
// the reader had a version.
func (s *Streams) state(r *reader, run *v1alpha1.JobRun, had uint64) ([]*group, error) {
	version, err := parseVersion(run.ResourceVersion)
	if err != nil {
		return nil, err
	}
	trim(run)
	g := &group{namespace: run.Namespace, version: max(version, had)}
	for _, e := range jobrun.NewTracker().Listed([]v1alpha1.JobRun{*run}) {
		one, err := encode(e)
		if err != nil {
			return nil, err
		}
		g.events = append(g.events, one)
	}
	if r.resume(g.version) == forgotten {
		return nil, unavailable("too much happened while the run was read")
	}
	return []*group{g}, nil
}
