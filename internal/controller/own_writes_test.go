// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// The cache shows an own write once it shows that version, or a later one.
func TestOwnWriteIsShown(t *testing.T) {
	written := wrappers.MakeJobRun("a").UID("u").ResourceVersion("10").Obj()
	type shown struct {
		uid     types.UID
		version string
	}
	for name, tc := range map[string]struct {
		deleted bool
		cache   shown
		want    bool
	}{
		"an earlier version":                {false, shown{"u", "9"}, false},
		"that version":                      {false, shown{"u", "10"}, true},
		"a later version":                   {false, shown{"u", "11"}, true},
		"nothing yet":                       {false, shown{}, false},
		"the predecessor of that name":      {false, shown{"v", "9"}, false},
		"the successor of that name":        {false, shown{"v", "11"}, true},
		"deleted, and still there":          {true, shown{"u", "10"}, false},
		"deleted, and gone":                 {true, shown{}, true},
		"deleted, and another has the name": {true, shown{"v", "11"}, true},
		"a version that cannot be compared": {false, shown{"u", "x"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOwnWrites(testingclock.NewFakePassiveClock(time.Unix(0, 0)))
			w.stored(written)
			if tc.deleted {
				w.deleted(written)
			}
			for range 2 { // The answer does not change what is remembered.
				if got := w.isShown(idOf(written), tc.cache.uid, tc.cache.version); got != tc.want {
					t.Errorf("isShown() = %t, want %t", got, tc.want)
				}
			}
		})
	}
}

// An event of the cache, or time, ends the wait.
func TestOwnWriteIsForgotten(t *testing.T) {
	written, older := wrappers.MakeJobRun("a").UID("u").ResourceVersion("10").Obj(), wrappers.MakeJobRun("a").UID("u").ResourceVersion("9").Obj()
	clock := testingclock.NewFakePassiveClock(time.Unix(0, 0))
	for name, tc := range map[string]struct {
		forget func(*ownWrites)
		want   bool
	}{
		"an event of an earlier version": {func(w *ownWrites) { w.shown(nil, older) }, false},
		"an event of the deletion":       {func(w *ownWrites) { w.shown(older, nil) }, true},
		"the cache lags for long":        {func(*ownWrites) { clock.SetTime(clock.Now().Add(echoPatience)) }, true},
		"the cache lags for a moment":    {func(*ownWrites) { clock.SetTime(clock.Now().Add(echoPatience - 1)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOwnWrites(clock)
			w.stored(written)
			tc.forget(w)
			if got := w.isShown(idOf(older), older.UID, older.ResourceVersion); got != tc.want {
				t.Errorf("isShown() = %t, want %t", got, tc.want)
			}
		})
	}
}

// A home whose cache lags behind the controller's own write is not decided on, and costs no request.
func TestNoDecisionBeforeOwnWritesAreShown(t *testing.T) {
	run, key := made("a").Pending().Obj(), makeKey("k").Pending("a").Obj()
	newer := made("a").Pending().ResourceVersion("99").Obj()
	newerKey := makeKey("k").Pending("a").Obj()
	newerKey.ResourceVersion = "99"
	for name, written := range map[string]client.Object{"the run": newer, "the key": newerKey} {
		t.Run(name, func(t *testing.T) {
			b := newBench(run, key)
			b.writes.stored(written)
			b.Live = nil // A live read would panic.
			if _, err := b.observeHome(t.Context(), homeRequest(run)); !errors.Is(err, errStale) {
				t.Errorf("error %v", err)
			}
		})
	}
}
