// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// selection selects the events of a stream. Every field that is set must match.
type selection struct {
	jobName string
	// labels select an event by the labels of its run, and a run:coalesced also by those of the absorbed trigger.
	labels []labels.Selector
	// run is the uid of the JobRun that the stream follows.
	run types.UID
}

func (s selection) has(e *event) bool {
	if s.run != "" && s.run != e.run || s.jobName != "" && s.jobName != e.jobName {
		return false
	}
	return s.matches(e.labels) || e.skipped != nil && s.matches(e.skipped)
}

func (s selection) matches(set labels.Set) bool {
	return !slices.ContainsFunc(s.labels, func(selector labels.Selector) bool { return !selector.Matches(set) })
}

// hasAny reports whether a stream has something to do with the group: to pass an event, or to follow another run because its
// own became a receipt.
func (s selection) hasAny(g *group) bool {
	return slices.ContainsFunc(g.events, s.has) || s.boundIn(g)
}

// boundIn reports whether the group shows the followed JobRun as a receipt of another run.
func (s selection) boundIn(g *group) bool { return s.run != "" && slices.Contains(g.bound, s.run) }
