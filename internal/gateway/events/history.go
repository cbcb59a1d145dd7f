// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// event is an event of a run, encoded once for all streams.
type event struct {
	kind    jobrun.EventType
	run     types.UID
	jobName string
	// labels are those of the run, skipped those of the absorbed trigger, or nil without one that was seen.
	labels, skipped map[string]string
	// frame is the event as text, without the id and the empty line that ends it.
	frame []byte
}

// group has the events that one write, or one list, showed in a namespace.
type group struct {
	namespace string
	// version is the resourceVersion of the write: whoever has all events of the group has everything up to version. Whoever
	// has some of them has everything up to before.
	before, version uint64
	events          []*event
	// bound are the JobRuns that the write showed as receipts of another run.
	bound []types.UID
}

// size returns about how many bytes the group takes.
func (g *group) size() int {
	const overhead = 300
	size := overhead
	for _, e := range g.events {
		size += overhead + len(e.frame)
	}
	return size
}

// history has the latest groups, oldest first. Each has a number, one higher than the group before it.
type history struct {
	groups []*group
	// first is the number of the oldest group.
	first uint64
	// floor is the version after which the history is complete.
	floor uint64
	// bytes is the size of all groups. maxBytes bounds it.
	bytes, maxBytes int
}

// end returns the number of the group that comes next.
func (h *history) end() uint64 { return h.first + uint64(len(h.groups)) }

func (h *history) at(number uint64) *group { return h.groups[number-h.first] }

func (h *history) add(g *group) {
	h.groups = append(h.groups, g)
	h.bytes += g.size()
	for h.bytes > h.maxBytes && len(h.groups) > 1 { // The last one is kept, whatever its size.
		oldest := h.groups[0]
		h.groups[0] = nil
		h.groups = h.groups[1:]
		h.first++
		h.bytes -= oldest.size()
		h.floor = oldest.version
	}
}

// clear forgets all groups. The history is complete after floor then.
func (h *history) clear(floor uint64) {
	h.first, h.groups, h.bytes, h.floor = h.end(), nil, 0, floor
}

// since returns the number of the first group after a version. It reports false if an older group is forgotten.
func (h *history) since(version uint64) (uint64, bool) {
	if version < h.floor {
		return 0, false
	}
	n, _ := slices.BinarySearchFunc(h.groups, version, func(g *group, version uint64) int {
		if g.version > version {
			return 1
		}
		return -1
	})
	return h.first + uint64(n), true
}
