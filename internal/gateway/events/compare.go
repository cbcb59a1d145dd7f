// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const (
	// compareTimeout bounds how long a comparison takes, the wait for others included.
	compareTimeout = 10 * time.Second
	// comparisons bounds how many are under way. Each has all JobRuns of a namespace in memory, without what slim drops. A
	// caller has one.
	comparisons = 2
	// maxCompared bounds about how many bytes of JobRuns a comparison keeps.
	maxCompared = 64 << 20
	// pageSize bounds how many whole JobRuns a comparison has in memory.
	pageSize = 500
)

// errTooLarge means that a comparison would take too much memory.
var errTooLarge = errors.New("the JobRuns of the namespace are too many or too large to compare")

// past reads what JobRuns were at an older version.
type past struct {
	api client.Client
	// turns are those of the callers.
	turns turns
	// slots has an element for each comparison that is under way.
	slots chan struct{}
	// room is how many bytes a comparison keeps at most, about.
	room int
}

func newPast(api client.Client) *past {
	return &past{api: api, slots: make(chan struct{}, comparisons), room: maxCompared}
}

// since returns for a caller what happened after a version, by comparing the JobRuns of a namespace at that version with those
// of now. selected restricts the JobRuns. The error is the API server's, for example that the version is too old, or
// errTooLarge.
func (p *past) since(ctx context.Context, caller, namespace string, selected fields.Set, version uint64) (*group, error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	leave, err := p.enter(ctx, caller)
	if err != nil {
		return nil, err
	}
	defer leave()
	room := p.room
	then, _, err := p.list(ctx, namespace, selected, version, &room, func(*v1alpha1.JobRun) bool { return true })
	if err != nil {
		return nil, err
	}
	// A JobRun that is as it was makes no event.
	now, at, err := p.list(ctx, namespace, selected, 0, &room, func(run *v1alpha1.JobRun) bool { return !changedAfter(run, version) })
	if err != nil {
		return nil, err
	}
	tracker := jobrun.NewTracker()
	tracker.Listed(then)
	g := &group{namespace: namespace, before: version, version: at}
	for _, e := range tracker.Listed(now) {
		one, err := encode(e)
		if err != nil {
			return nil, err
		}
		g.events = append(g.events, one)
	}
	return g, nil
}

// enter waits until the caller may compare. The caller calls leave once.
func (p *past) enter(ctx context.Context, caller string) (leave func(), err error) {
	done, err := p.turns.wait(ctx, caller)
	if err != nil {
		return nil, fmt.Errorf("wait for other comparisons of the caller: %w", err)
	}
	select {
	case p.slots <- struct{}{}:
		return func() {
			<-p.slots
			done()
		}, nil
	case <-ctx.Done():
		done()
		return nil, fmt.Errorf("wait for other comparisons: %w", ctx.Err())
	}
}

func changedAfter(run *v1alpha1.JobRun, version uint64) bool {
	own, err := parseVersion(run.ResourceVersion)
	return err != nil || own > version
}

// list reads JobRuns at a version, or now if version is 0, and returns at which version it did. It slims those that drop
// returns true for. It takes the bytes of what it returns from room, and returns errTooLarge if there is too little.
func (p *past) list(
	ctx context.Context, namespace string, selected fields.Set, version uint64, room *int, drop func(*v1alpha1.JobRun) bool,
) ([]v1alpha1.JobRun, uint64, error) {
	options := metav1.ListOptions{Limit: pageSize}
	if version != 0 {
		options.ResourceVersion = strconv.FormatUint(version, 10)
		options.ResourceVersionMatch = metav1.ResourceVersionMatchExact
	}
	var all []v1alpha1.JobRun
	for {
		var page v1alpha1.JobRunList
		err := p.api.List(ctx, &page, &client.ListOptions{
			Namespace: namespace, FieldSelector: selected.AsSelector(),
			Raw: &options, Limit: options.Limit, Continue: options.Continue,
		})
		if err != nil {
			return nil, 0, err
		}
		for i := range page.Items {
			run := &page.Items[i]
			if trim(run); drop(run) {
				slim(run)
			}
			if *room -= weight(run); *room < 0 {
				return nil, 0, errTooLarge
			}
			all = append(all, *run)
		}
		if options.Continue = page.Continue; options.Continue == "" {
			at, err := parseVersion(page.ResourceVersion)
			return all, at, err
		}
		options.ResourceVersion, options.ResourceVersionMatch = "", ""
	}
}

// newest returns the version of now.
func (p *past) newest(ctx context.Context, namespace string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	var page v1alpha1.JobRunList
	if err := p.api.List(ctx, &page, client.InNamespace(namespace), client.Limit(1)); err != nil {
		return 0, err
	}
	return parseVersion(page.ResourceVersion)
}
