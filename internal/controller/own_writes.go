// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// echoPatience is how long a decision waits for the cache to show this process's own writes.
	echoPatience = 2 * time.Second
	// ownWritesKept bounds the number of objects in ownWrites.
	ownWritesKept = 8192
)

// ownWrites holds the latest writes of this process that its cache does not show yet. A decision on such a cache would only
// repeat them: a live read or a compare-and-swap would stop it, after requests that are for nothing. Nothing but that waste
// depends on this memory.
type ownWrites struct {
	clock clock.PassiveClock
	// latest holds an ownWrite for each objectID.
	latest *lru.Cache
}

// objectID names a JobRun or a RunKey.
type objectID struct {
	isKey bool
	types.NamespacedName
}

func idOf(object client.Object) objectID {
	_, isKey := object.(*v1alpha1.RunKey)
	return objectID{isKey, client.ObjectKeyFromObject(object)}
}

// ownWrite is the latest write of an object. version is empty if the object was deleted.
type ownWrite struct {
	uid     types.UID
	version string
	time    time.Time
}

func newOwnWrites(c clock.PassiveClock) *ownWrites {
	return &ownWrites{clock: c, latest: lru.New(ownWritesKept)}
}

// stored records that this process stored an object.
func (w *ownWrites) stored(object client.Object) {
	w.latest.Add(idOf(object), ownWrite{object.GetUID(), object.GetResourceVersion(), w.clock.Now()})
}

// deleted records that this process deleted an object.
func (w *ownWrites) deleted(object client.Object) {
	w.latest.Add(idOf(object), ownWrite{uid: object.GetUID(), time: w.clock.Now()})
}

// shown forgets the write of an object that an event of the cache has reached. after is nil if the object is gone.
func (w *ownWrites) shown(before, after client.Object) {
	if after == nil {
		w.latest.Remove(idOf(before))
		return
	}
	w.isShown(idOf(after), after.GetUID(), after.GetResourceVersion())
}

// isShown reports whether the cache shows the latest write of an object, or a later state. It shows the object with uid and
// version, which are empty if it shows none.
func (w *ownWrites) isShown(id objectID, uid types.UID, version string) bool {
	found, _ := w.latest.Get(id)
	write, ok := found.(ownWrite)
	if ok && w.clock.Since(write.time) < echoPatience && !write.isIn(uid, version) {
		return false
	}
	w.latest.Remove(id)
	return true
}

// isIn reports whether a cache that shows uid and version has reached the write.
func (w ownWrite) isIn(uid types.UID, version string) bool {
	switch {
	case w.version == "":
		return uid != w.uid
	case version == "":
		return false
	}
	order, err := resourceversion.CompareResourceVersion(version, w.version)
	return err != nil || order >= 0
}

// awaitOwnWrites returns errStale if the cache does not show yet what this process wrote to the RunKey or to a run of the home.
func (o *observer) awaitOwnWrites(context.Context) error {
	if o.req.RunKey != "" {
		id := objectID{true, types.NamespacedName{Namespace: o.req.Namespace, Name: o.req.RunKey}}
		var uid types.UID
		var version string
		if o.Key != nil {
			uid, version = o.Key.UID, o.Key.ResourceVersion
		}
		if !o.writes.isShown(id, uid, version) {
			return fmt.Errorf("%w: the cache does not show the last write of RunKey %s", errStale, id.NamespacedName)
		}
	}
	for _, run := range o.Runs {
		if err := o.awaitOwnWrite(run); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) awaitOwnWrite(run *v1alpha1.JobRun) error {
	if r.writes.isShown(idOf(run), run.UID, run.ResourceVersion) {
		return nil
	}
	return fmt.Errorf("%w: the cache does not show the last write of JobRun %s/%s", errStale, run.Namespace, run.Name)
}
