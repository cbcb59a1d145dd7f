// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import "testing"

func TestHistory(t *testing.T) {
	size := (&group{}).size()
	h := history{maxBytes: 3 * size, floor: 10}
	for _, version := range []uint64{12, 15, 15, 20} {
		h.add(&group{version: version})
	}
	// The group of version 12 is forgotten.
	for version, want := range map[uint64]uint64{12: 1, 14: 1, 15: 3, 19: 3, 20: 4, 99: 4} {
		number, ok := h.since(version)
		mustEqual(t, "remembers", ok, true)
		mustEqual(t, "the first after it", number, want)
	}
	_, ok := h.since(11)
	mustEqual(t, "remembers 11", ok, false)
	mustEqual(t, "bytes", h.bytes, 3*size)

	h.add(&group{version: 30, events: []*event{{frame: make([]byte, 10*size)}}})
	mustEqual(t, "a group that is larger than the history is kept alone", len(h.groups), 1)
	h.clear(31)
	_, ok = h.since(30)
	mustEqual(t, "after a clear", ok, false)
	mustEqual(t, "numbers go on", h.end(), 5)
}
