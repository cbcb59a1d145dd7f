// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"maps"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Hub turns what one watch shows into events, and hands them to the readers of all streams.
type Hub struct {
	log logr.Logger
	// tracker is used by the watch alone.
	tracker *jobrun.Tracker
	// synced is closed once the first list is there.
	synced chan struct{}

	mu      sync.Mutex
	history history
	// version is the resourceVersion up to which the history has everything.
	version uint64
	// readers are the open readers by namespace.
	readers map[string]map[*reader]struct{}
	// watches are the open watches of single JobRuns.
	watches map[types.NamespacedName]map[*sharedWatch]struct{}
}

// NewHub returns a Hub whose history has at most historyBytes, about.
func NewHub(log logr.Logger, historyBytes int) *Hub {
	return &Hub{
		log:     log,
		tracker: jobrun.NewTracker(),
		synced:  make(chan struct{}),
		history: history{maxBytes: historyBytes},
		readers: map[string]map[*reader]struct{}{},
		watches: map[types.NamespacedName]map[*sharedWatch]struct{}{},
	}
}

// Synced reports whether the Hub has read the JobRuns.
func (h *Hub) Synced() bool {
	select {
	case <-h.synced:
		return true
	default:
		return false
	}
}

// listed takes all JobRuns. The events of the first list are old: no stream gets them.
func (h *Hub) listed(all []v1alpha1.JobRun, version uint64) {
	found := h.tracker.Listed(all)
	if !h.Synced() {
		h.restart(version)
		close(h.synced)
	} else {
		h.publish(version, h.byNamespace(found), boundOf(all))
	}
	h.tellAll(all)
	for i := range all {
		slim(&all[i])
	}
}

// changed takes one JobRun that was created, updated or deleted.
func (h *Hub) changed(run *v1alpha1.JobRun, version uint64, deleted bool) {
	tell := h.tracker.Changed
	if deleted {
		tell = h.tracker.Deleted
	}
	h.publish(version, h.byNamespace(tell(run)), boundOf([]v1alpha1.JobRun{*run}))
	h.tell(run, version, deleted)
	slim(run)
}

// byNamespace encodes events. They keep their order.
func (h *Hub) byNamespace(found []jobrun.Event) map[string][]*event {
	encoded := map[string][]*event{}
	for _, e := range found {
		one, err := encode(e)
		if err != nil { // The API server accepts no JobRun without a JSON form.
			h.log.Error(err, "Cannot encode an event", "type", e.Type, "namespace", e.Run.Namespace, "name", e.Run.Name)
			continue
		}
		encoded[e.Run.Namespace] = append(encoded[e.Run.Namespace], one)
	}
	return encoded
}

// boundOf returns the JobRuns that are receipts of another run, by namespace.
func boundOf(runs []v1alpha1.JobRun) map[string][]types.UID {
	bound := map[string][]types.UID{}
	for i := range runs {
		if run := &runs[i]; standsFor(run) != nil {
			bound[run.Namespace] = append(bound[run.Namespace], run.UID)
		}
	}
	return bound
}

// standsFor returns the other run that stands for a bound receipt, or nil.
func standsFor(run *v1alpha1.JobRun) *v1alpha1.ObjectReference {
	if ref := run.Status.RunRef; run.IsReceipt() && ref != nil && ref.UID != run.UID {
		return ref
	}
	return nil
}

// publish adds what a write or a list showed to the history, and wakes the readers that select it.
func (h *Hub) publish(version uint64, found map[string][]*event, bound map[string][]types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if version < h.version {
		h.restored(version)
		return
	}
	before := h.version
	h.version = version
	namespaces := slices.Collect(maps.Keys(found))
	for namespace := range bound {
		if found[namespace] == nil && len(h.readers[namespace]) > 0 {
			namespaces = append(namespaces, namespace)
		}
	}
	for _, namespace := range namespaces {
		g := &group{namespace: namespace, before: before, version: version, events: found[namespace], bound: bound[namespace]}
		number := h.history.end()
		h.history.add(g)
		for r := range h.readers[namespace] {
			r.offer(g, number)
		}
	}
}

// bookmark notes that nothing happened up to a version.
func (h *Hub) bookmark(version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version = max(h.version, version)
}

// restart begins the history at a version.
func (h *Hub) restart(version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version = version
	h.history.clear(version)
}

// restored ends all readers, because the API server's store went back to an older version: all ids are void. When their
// clients come back, they get a reset.
func (h *Hub) restored(version uint64) {
	h.log.Info("The API server went back to an older version, ends all streams", "from", h.version, "to", version)
	h.version = version
	h.history.clear(version)
	for _, readers := range h.readers {
		for r := range readers {
			r.end(errRestored)
		}
	}
	for _, watches := range h.watches {
		for w := range watches {
			w.end()
		}
	}
}
