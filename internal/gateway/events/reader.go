// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"errors"

	"k8s.io/apimachinery/pkg/types"
)

var (
	// errSlow means that a client reads more slowly than events come.
	errSlow = errors.New("the client is too slow: events that it has not read have left the history")
	// errRestored means that resourceVersions have started again from an older one.
	errRestored = errors.New("the API server's store was restored from a backup")
)

// maxGroups bounds what a reader takes at once, and so how long it holds the Hub's lock.
const maxGroups = 64

// reader is the place of a stream in the history of a Hub. Its owner calls all methods but offer and end.
type reader struct {
	hub       *Hub
	namespace string
	// wake has an element if there may be something to read.
	wake chan struct{}

	// The Hub's lock guards the rest.

	selected selection
	// behind reports whether the group with the number next, or one after it, is to be read. Otherwise the reader has
	// everything, and next means nothing.
	behind bool
	next   uint64
	// after is the version up to which the stream has everything, although the Hub may not be there yet.
	after uint64
	ended error
}

// open adds a reader that gets what happens from now on. It returns the version from which.
func (h *Hub) open(namespace string, selected selection) (*reader, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &reader{hub: h, namespace: namespace, selected: selected, wake: make(chan struct{}, 1)}
	if h.readers[namespace] == nil {
		h.readers[namespace] = map[*reader]struct{}{}
	}
	h.readers[namespace][r] = struct{}{}
	return r, h.version
}

// close removes the reader.
func (r *reader) close() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	delete(r.hub.readers[r.namespace], r)
	if len(r.hub.readers[r.namespace]) == 0 {
		delete(r.hub.readers, r.namespace)
	}
}

// offer makes the reader read a new group, if it selects it.
func (r *reader) offer(g *group, number uint64) {
	if g.version <= r.after || !r.selected.hasAny(g) {
		return
	}
	if !r.behind {
		r.behind, r.next = true, number
	}
	r.rouse()
}

func (r *reader) end(err error) {
	r.ended = err
	r.rouse()
}

func (r *reader) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// place is where a version is in the history.
type place int

const (
	// covered means that the history has everything after the version.
	covered place = iota
	// ahead means that the Hub has not seen the version yet.
	ahead
	// forgotten means that the history begins after the version.
	forgotten
)

// resume makes the reader go on after a version, unless it is forgotten.
func (r *reader) resume(after uint64) place {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.after = after
	if after > r.hub.version {
		r.behind = false
		return ahead
	}
	next, ok := r.hub.history.since(after)
	if !ok {
		return forgotten
	}
	r.next, r.behind = next, true
	return covered
}

// restart makes the reader go on from now. It returns the version from which.
func (r *reader) restart() uint64 {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.after, r.behind = r.hub.version, false
	return r.hub.version
}

// follow makes the reader follow a JobRun.
func (r *reader) follow(run types.UID) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.selected.run = run
}

// read returns the next groups, and the version up to which the reader has everything then. more reports whether there is
// more to read.
func (r *reader) read() (groups []*group, version uint64, more bool, err error) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if r.ended != nil {
		return nil, 0, false, r.ended
	}
	history := &r.hub.history
	if r.behind && r.next < history.first {
		return nil, 0, false, errSlow
	}
	for r.behind && len(groups) < maxGroups {
		if r.next == history.end() {
			r.behind = false
			break
		}
		g := history.at(r.next)
		r.next++
		if g.namespace == r.namespace && g.version > r.after && r.selected.hasAny(g) {
			groups = append(groups, g)
		}
	}
	if r.behind {
		return groups, groups[len(groups)-1].version, true, nil
	}
	return groups, max(r.hub.version, r.after), false, nil
}
