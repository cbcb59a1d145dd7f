// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
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
	// comparisons bounds how many are under way. Each has all JobRuns of a namespace in memory, without what slim drops.
	comparisons = 2
	// pageSize bounds how many whole JobRuns a comparison has in memory.
	pageSize = 500
)

// past reads what JobRuns were at an older version.
type past struct {
	api client.Client
	// slots has an element for each comparison that is under way.
	slots chan struct{}
}

func newPast(api client.Client) *past {
	return &past{api: api, slots: make(chan struct{}, comparisons)}
}

// since returns what happened after a version, by comparing the JobRuns of a namespace at that version with those of now.
// selected restricts the JobRuns. The error is the API server's: for example, the version is too old.
func (p *past) since(ctx context.Context, namespace string, selected fields.Set, version uint64) (*group, error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other comparisons: %w", ctx.Err())
	}
	then, _, err := p.list(ctx, namespace, selected, version, func(*v1alpha1.JobRun) bool { return true })
	if err != nil {
		return nil, err
	}
	// A JobRun that is as it was makes no event.
	now, at, err := p.list(ctx, namespace, selected, 0, func(run *v1alpha1.JobRun) bool { return !changedAfter(run, version) })
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

func changedAfter(run *v1alpha1.JobRun, version uint64) bool {
	own, err := parseVersion(run.ResourceVersion)
	return err != nil || own > version
}

// list reads JobRuns at a version, or now if version is 0, and returns at which version it did. It slims those that drop
// returns true for.
func (p *past) list(
	ctx context.Context, namespace string, selected fields.Set, version uint64, drop func(*v1alpha1.JobRun) bool,
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
