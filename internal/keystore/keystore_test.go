// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

var (
	keyName    = nameOf(wrappers.MakeRunKey("k"))
	ownerName  = nameOf(wrappers.MakeIdempotencyKey("i"))
	anyRunKeys = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "runkeys"}
)

func nameOf(key *wrappers.RunKeyWrapper) types.NamespacedName {
	return client.ObjectKeyFromObject(key.Obj())
}

// newStore returns a Store that reads and writes store. cached may lag behind store.
func newStore(store, cached *wrappers.Store) *keystore.Store {
	return keystore.New(keystore.Options{
		Cached: cached, Live: store, Writer: store, Clock: clocktesting.NewFakePassiveClock(wrappers.Epoch.Time),
	})
}

// row returns the stored key; nil if there is none.
func row(t *testing.T, store *wrappers.Store, name types.NamespacedName) *v1alpha1.RunKeySpec {
	t.Helper()
	key := &v1alpha1.RunKey{}
	err := store.Get(context.Background(), name, key)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return &key.Spec
}

func TestCompareAndSwap(t *testing.T) {
	waits := wrappers.MakeRunKey("k").Pending("a").Row()
	executes := wrappers.MakeRunKey("k").Leased("a", 1, "10").Row()
	held := func() client.Object { return wrappers.MakeRunKey("k").Pending("a").Obj() }
	for name, tc := range map[string]struct {
		stored  []client.Object
		current *v1alpha1.RunKey
		next    *v1alpha1.RunKeySpec
		want    *v1alpha1.RunKeySpec
		writes  int
		changed bool
	}{
		"create":                     {next: waits, want: waits, writes: 1},
		"create what is there":       {stored: []client.Object{held()}, next: executes, want: waits, changed: true},
		"update":                     {stored: []client.Object{held()}, current: wrappers.MakeRunKey("k").Obj(), next: executes, want: executes, writes: 1},
		"update what changed":        {stored: []client.Object{held()}, current: wrappers.MakeRunKey("k").ResourceVersion("9").Obj(), next: executes, want: waits, changed: true},
		"update what is gone":        {current: wrappers.MakeRunKey("k").Obj(), next: executes, changed: true},
		"update another of its name": {stored: []client.Object{held()}, current: another(), next: executes, want: waits, changed: true},
		"delete":                     {stored: []client.Object{held()}, current: wrappers.MakeRunKey("k").Obj(), writes: 1},
		"delete what changed":        {stored: []client.Object{held()}, current: wrappers.MakeRunKey("k").ResourceVersion("9").Obj(), want: waits, changed: true},
		"delete what is gone":        {current: wrappers.MakeRunKey("k").Obj(), changed: true},
		"delete another of its name": {stored: []client.Object{held()}, current: another(), want: waits, changed: true},
		"nothing of nothing":         {},
	} {
		t.Run(name, func(t *testing.T) {
			store := wrappers.NewStore(nil, tc.stored...)
			before := tc.current.DeepCopy()
			got, err := newStore(store, store).CompareAndSwap(context.Background(), keyName, tc.current, tc.next)
			if errors.Is(err, keystore.ErrChanged) != tc.changed || (err != nil && !tc.changed) {
				t.Fatalf("error %v, want ErrChanged %t", err, tc.changed)
			}
			if diff := cmp.Diff(tc.want, row(t, store, keyName)); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			if n := len(store.Writes()); n != tc.writes {
				t.Errorf("%d writes, want %d: %v", n, tc.writes, store.Writes())
			}
			if diff := cmp.Diff(before, tc.current); diff != "" {
				t.Errorf("what was decided on, which is the cache's, changed:\n%s", diff)
			}
			if err != nil || tc.next == nil {
				if got != nil {
					t.Errorf("returned %v", got)
				}
				return
			}
			if diff := cmp.Diff(*tc.next, got.Spec); diff != "" || got.UID == "" || got.ResourceVersion == "" {
				t.Errorf("returned %+v\n%s", got, diff)
			}
			if _, err := newStore(store, store).CompareAndSwap(context.Background(), keyName, got, nil); err != nil {
				t.Errorf("what was returned is not what is stored: %v", err)
			}
		})
	}
}

// another returns a key that was deleted and created again, and has the same version by chance.
func another() *v1alpha1.RunKey {
	key := wrappers.MakeRunKey("k").Obj()
	key.UID = "earlier"
	return key
}

// Only a lost race is ErrChanged.
func TestCompareAndSwapErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		err     error
		changed bool
	}{
		"conflict":       {apierrors.NewConflict(anyRunKeys, "k", errors.New("x")), true},
		"already exists": {apierrors.NewAlreadyExists(anyRunKeys, "k"), true},
		"not found":      {apierrors.NewNotFound(anyRunKeys, "k"), true},
		"forbidden":      {apierrors.NewForbidden(anyRunKeys, "k", errors.New("terminating")), false},
		"timeout":        {apierrors.NewTimeoutError("x", 1), false},
		"too many":       {apierrors.NewTooManyRequestsError("x"), false},
		"no connection":  {errors.New("connection refused"), false},
		"cancelled":      {context.Canceled, false},
	} {
		for verb, swap := range map[string]struct {
			current *v1alpha1.RunKey
			next    *v1alpha1.RunKeySpec
		}{
			"create": {next: wrappers.MakeRunKey("k").Pending("a").Row()},
			"update": {wrappers.MakeRunKey("k").Obj(), wrappers.MakeRunKey("k").Pending("a").Row()},
			"delete": {current: wrappers.MakeRunKey("k").Obj()},
		} {
			t.Run(verb+", "+name, func(t *testing.T) {
				store := wrappers.NewStore(nil)
				store.Before = func(string, client.Object) error { return tc.err }
				got, err := newStore(store, store).CompareAndSwap(context.Background(), keyName, swap.current, swap.next)
				if errors.Is(err, keystore.ErrChanged) != tc.changed || !errors.Is(err, tc.err) || got != nil {
					t.Errorf("got %v, error %v; want ErrChanged %t and the error that was", got, err, tc.changed)
				}
			})
		}
	}
}

func TestReads(t *testing.T) {
	waits := wrappers.MakeRunKey("k").Pending("a")
	store, lagging := wrappers.NewStore(nil, waits.Obj()), wrappers.NewStore(nil)
	x := newStore(store, lagging)
	ctx := context.Background()
	if key, err := x.Cached(ctx, keyName); key != nil || err != nil {
		t.Errorf("the cache shows %v, %v", key, err)
	}
	if key, err := x.Live(ctx, keyName); err != nil || cmp.Diff(waits.Row(), &key.Spec) != "" {
		t.Errorf("a live read shows %v, %v", key, err)
	}
	if key, err := x.Live(ctx, ownerName); key != nil || err != nil {
		t.Errorf("a live read of nothing shows %v, %v", key, err)
	}
	broken := errors.New("connection refused")
	store.Read = func(client.ObjectKey, client.Object) error { return broken }
	if key, err := x.Live(ctx, keyName); key != nil || !errors.Is(err, broken) {
		t.Errorf("a broken live read shows %v, %v", key, err)
	}
}
