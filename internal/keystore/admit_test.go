// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func id(name string) runkey.Identity {
	return runkey.Identity{RunName: name, Token: wrappers.TokenOf(name)}
}

// trigger returns a trigger of run b with the concurrencyKey "k".
func trigger(changes ...func(*runkey.Trigger)) runkey.Trigger {
	t := runkey.Trigger{Run: id("b"), JobName: wrappers.JobName, ConcurrencyKey: "k"}
	for _, change := range changes {
		change(&t)
	}
	return t
}

func skip(t *runkey.Trigger)     { t.Coalesce = v1alpha1.CoalesceSkip }
func delivery(t *runkey.Trigger) { t.IdempotencyKey = "i" }
func keyless(t *runkey.Trigger)  { t.ConcurrencyKey = "" }
func twin(t *runkey.Trigger)     { t.Run = id("twin") }

// objects returns its arguments as a list that is not nil.
func objects(o ...client.Object) []client.Object { return append([]client.Object{}, o...) }

var (
	created    = keystore.Outcome{Disposition: v1alpha1.DispositionCreated, Run: id("b")}
	coalesced  = keystore.Outcome{Disposition: v1alpha1.DispositionCoalesced, Run: id("a"), KeyVersion: "10"}
	idempotent = keystore.Outcome{Disposition: v1alpha1.DispositionIdempotent, Run: id("a")}
	conflict   = &keystore.ConflictError{
		Pending: id("a"), JobName: wrappers.JobName, Key: "k", Since: wrappers.Epoch.Time, Asked: wrappers.Epoch.Time,
	}
)

func waiting(run string) client.Object   { return wrappers.MakeRunKey("k").Pending(run).Obj() }
func executing(run string) client.Object { return wrappers.MakeRunKey("k").Leased(run, 1, "9").Obj() }
func owned(run string) client.Object     { return wrappers.MakeIdempotencyKey("i").Owner(run).Obj() }

// asItIs accepts every trigger as valid.
func asItIs() error { return nil }

func TestAdmit(t *testing.T) {
	earlier := func() *wrappers.RunKeyWrapper { return wrappers.MakeRunKey("k").PendingAs("b", "earlier") }
	pendingB := wrappers.MakeRunKey("k").Pending("b").Row()
	pendingBI := wrappers.MakeRunKey("k").Pending("b").IdempotencyKey("i").Row()
	for name, tc := range map[string]struct {
		stored []client.Object
		// cached is what a lagging cache shows. If it is nil, the cache shows what is stored.
		cached  []client.Object
		trigger runkey.Trigger
		want    keystore.Outcome
		wantErr error
		// wantKey and wantOwner are the stored rows after the admission.
		wantKey, wantOwner *v1alpha1.RunKeySpec
		writes             []string
	}{
		"no keys at all": {
			trigger: trigger(keyless), want: created,
		},
		"a free key": {
			trigger: trigger(), want: created, wantKey: pendingB, writes: []string{"create"},
		},
		"a run executes, no run waits": {
			stored: objects(executing("a")), trigger: trigger(), want: created,
			wantKey: wrappers.MakeRunKey("k").Leased("a", 1, "9").Pending("b").Row(), writes: []string{"update"},
		},
		"a run waits": {
			stored: objects(waiting("a")), trigger: trigger(), wantErr: conflict, wantKey: wrappers.MakeRunKey("k").Pending("a").Row(),
		},
		"a run waits and the trigger coalesces": {
			stored: objects(waiting("a")), trigger: trigger(skip), want: coalesced, wantKey: wrappers.MakeRunKey("k").Pending("a").Row(),
		},
		"a cache that shows a run waiting which has started does not coalesce": {
			stored: objects(executing("a")), cached: objects(waiting("a")), trigger: trigger(skip), want: created,
			wantKey: wrappers.MakeRunKey("k").Leased("a", 1, "9").Pending("b").Row(), writes: []string{"update"},
		},
		"a cache that shows a run waiting which has started does not refuse": {
			stored: objects(executing("a")), cached: objects(waiting("a")), trigger: trigger(), want: created,
			wantKey: wrappers.MakeRunKey("k").Leased("a", 1, "9").Pending("b").Row(), writes: []string{"update"},
		},
		"a cache that shows a run waiting which is gone": {
			cached: objects(waiting("a")), trigger: trigger(skip), want: created, wantKey: pendingB, writes: []string{"create"},
		},
		"a cache that shows another run waiting than does": {
			stored: objects(waiting("a")), cached: objects(waiting("x")), trigger: trigger(skip), want: coalesced,
			wantKey: wrappers.MakeRunKey("k").Pending("a").Row(),
		},
		"a cache that does not show the key yet": {
			stored: objects(waiting("a")), cached: objects(), trigger: trigger(skip), want: coalesced,
			wantKey: wrappers.MakeRunKey("k").Pending("a").Row(),
		},
		"a cache that does not show the waiting run yet": {
			stored:  objects(wrappers.MakeRunKey("k").Leased("x", 1, "9").Pending("a").Obj()),
			cached:  objects(wrappers.MakeRunKey("k").Leased("x", 1, "8").ResourceVersion("9").Obj()),
			trigger: trigger(), wantErr: conflict, wantKey: wrappers.MakeRunKey("k").Leased("x", 1, "9").Pending("a").Row(),
		},
		"a cache that shows a key which is gone": {
			cached: objects(executing("a")), trigger: trigger(), want: created, wantKey: pendingB, writes: []string{"create"},
		},

		"idempotent before concurrency": {
			stored: objects(owned("a"), waiting("x")), trigger: trigger(delivery), want: idempotent,
			wantKey: wrappers.MakeRunKey("k").Pending("x").Row(), wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
		},
		"idempotent before a free key": {
			stored: objects(owned("a")), trigger: trigger(delivery), want: idempotent,
			wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
		},
		"idempotent without a concurrencyKey": {
			stored: objects(owned("a")), trigger: trigger(delivery, keyless), want: idempotent,
			wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
		},
		"a cache that does not show the delivery before, and no key": {
			stored: objects(owned("a")), cached: objects(), trigger: trigger(delivery, keyless), want: idempotent,
			wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
		},
		"a cache that does not show the delivery before, and a run waits": {
			stored: objects(owned("a"), waiting("x")), cached: objects(), trigger: trigger(delivery), want: idempotent,
			wantKey: wrappers.MakeRunKey("k").Pending("x").Row(), wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
		},
		"a cache that does not show the delivery before, and the trigger coalesces": {
			stored: objects(owned("a"), waiting("x")), cached: objects(), trigger: trigger(delivery, skip), want: idempotent,
			wantKey: wrappers.MakeRunKey("k").Pending("x").Row(), wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
		},
		"a cache that does not show the delivery before: the loser gives its key back": {
			stored: objects(owned("a")), cached: objects(), trigger: trigger(delivery), want: idempotent,
			wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(), writes: []string{"create", "delete"},
		},
		"the loser gives its place back and leaves the lease": {
			stored: objects(owned("a"), executing("x")), cached: objects(executing("x")), trigger: trigger(delivery), want: idempotent,
			wantKey: wrappers.MakeRunKey("k").Leased("x", 1, "9").Row(), wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(),
			writes: []string{"update", "update"},
		},
		"a cache that shows a delivery whose key is free again": {
			cached: objects(owned("a")), trigger: trigger(delivery), want: created,
			wantKey: pendingBI, wantOwner: wrappers.MakeIdempotencyKey("i").Owner("b").Row(), writes: []string{"create", "create"},
		},
		"a first delivery": {
			trigger: trigger(delivery), want: created,
			wantKey: pendingBI, wantOwner: wrappers.MakeIdempotencyKey("i").Owner("b").Row(), writes: []string{"create", "create"},
		},
		"a first delivery without a concurrencyKey": {
			trigger: trigger(delivery, keyless), want: created,
			wantOwner: wrappers.MakeIdempotencyKey("i").Owner("b").Row(), writes: []string{"create"},
		},
		"a first delivery that is absorbed is remembered": {
			stored: objects(waiting("a")), trigger: trigger(delivery, skip), want: coalesced,
			wantKey: wrappers.MakeRunKey("k").Pending("a").Row(), wantOwner: wrappers.MakeIdempotencyKey("i").Owner("a").Row(), writes: []string{"create"},
		},
		"a first delivery that is refused is not": {
			stored: objects(waiting("a")), trigger: trigger(delivery), wantErr: conflict, wantKey: wrappers.MakeRunKey("k").Pending("a").Row(),
		},
		"the trigger's twin waits and does not own the idempotency key yet": {
			stored: objects(wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("i").Obj()), trigger: trigger(delivery), want: idempotent,
			wantKey: wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("i").Row(),
		},
		"the trigger's twin waits, and the trigger coalesces": {
			stored: objects(wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("i").Obj()), trigger: trigger(delivery, skip), want: idempotent,
			wantKey: wrappers.MakeRunKey("k").Pending("a").IdempotencyKey("i").Row(),
		},

		"the key is held under the trigger's name by a run that is gone": {
			stored: objects(earlier().Obj()), trigger: trigger(), want: created, wantKey: pendingB, writes: []string{"update"},
		},
		"the key is held under the trigger's name by a run that is gone, and it coalesces": {
			stored: objects(earlier().Obj()), trigger: trigger(skip), want: created, wantKey: pendingB, writes: []string{"update"},
		},
		"the key is held under the trigger's name by a run that is there": {
			stored: objects(earlier().Obj(), wrappers.MakeJobRun("b").Created().Token("earlier").Obj()), trigger: trigger(),
			wantErr: &keystore.NameTakenError{Name: "b"}, wantKey: earlier().Row(),
		},
		"the key is held under the trigger's name by a run that the cache does not show": {
			stored: objects(earlier().Obj(), wrappers.MakeJobRun("b").Created().Token("earlier").Obj()), cached: objects(earlier().Obj()),
			trigger: trigger(), wantErr: &keystore.NameTakenError{Name: "b"}, wantKey: earlier().Row(),
		},
		"the key is held under the trigger's name by a run that only the cache shows": {
			stored: objects(earlier().Obj()), cached: objects(earlier().Obj(), wrappers.MakeJobRun("b").Created().Token("earlier").Obj()),
			trigger: trigger(), want: created, wantKey: pendingB, writes: []string{"update"},
		},
		"the idempotency key is held under the trigger's name by a run that is gone": {
			stored: objects(wrappers.MakeIdempotencyKey("i").OwnerAs("b", "earlier").Obj()), trigger: trigger(delivery), want: created,
			wantKey: pendingBI, wantOwner: wrappers.MakeIdempotencyKey("i").Owner("b").Row(), writes: []string{"create", "update"},
		},
		"the idempotency key is held under the trigger's name by a run that is there": {
			stored:  objects(wrappers.MakeIdempotencyKey("i").OwnerAs("b", "earlier").Obj(), wrappers.MakeJobRun("b").Created().Token("earlier").Obj()),
			trigger: trigger(delivery), wantErr: &keystore.NameTakenError{Name: "b"},
			wantOwner: wrappers.MakeIdempotencyKey("i").OwnerAs("b", "earlier").Row(), writes: []string{"create", "delete"},
		},
	} {
		for _, dryRun := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dry run %t", name, dryRun), func(t *testing.T) {
				store := wrappers.NewStore(nil, copies(tc.stored)...)
				cached := store
				if tc.cached != nil {
					cached = wrappers.NewStore(nil, copies(tc.cached)...)
				}
				keyBefore, ownerBefore := row(t, store, keyName), row(t, store, ownerName)
				got, err := newStore(store, cached).Admit(context.Background(), wrappers.Namespace, tc.trigger, dryRun, asItIs)
				if diff := cmp.Diff(fmt.Sprint(tc.wantErr), fmt.Sprint(err)); diff != "" {
					t.Fatalf("error (-want +got):\n%s", diff)
				}
				if tc.wantErr != nil {
					got = keystore.Outcome{}
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("outcome (-want +got):\n%s", diff)
				}
				wantKey, wantOwner, writes := tc.wantKey, tc.wantOwner, tc.writes
				if dryRun {
					wantKey, wantOwner, writes = keyBefore, ownerBefore, nil
				}
				if diff := cmp.Diff(wantKey, row(t, store, keyName)); diff != "" {
					t.Errorf("concurrency key (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(wantOwner, row(t, store, ownerName)); diff != "" {
					t.Errorf("idempotency key (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(writes, verbs(store)); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func copies(all []client.Object) []client.Object {
	fresh := make([]client.Object, len(all))
	for i, o := range all {
		fresh[i] = o.DeepCopyObject().(client.Object)
	}
	return fresh
}

func verbs(store *wrappers.Store) []string {
	var all []string
	for _, write := range store.Writes() {
		verb, _, _ := strings.Cut(write, " ")
		all = append(all, verb)
	}
	return all
}

// Each error has a type, and a message for a person.
func TestAdmitErrors(t *testing.T) {
	store := wrappers.NewStore(nil, waiting("a"))
	_, err := newStore(store, store).Admit(context.Background(), wrappers.Namespace, trigger(), false, asItIs)
	var got *keystore.ConflictError
	if !errors.As(err, &got) {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(conflict, got); diff != "" {
		t.Errorf("conflict (-want +got):\n%s", diff)
	}
	if want := `run a is pending for job "job", concurrencyKey "k"`; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if want, got := `jobrun "b" already exists`, (&keystore.NameTakenError{Name: "b"}).Error(); got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

// The same trigger with the same token is admitted twice.
func TestAdmitTwice(t *testing.T) {
	for name, tc := range map[string]struct {
		trigger runkey.Trigger
		stored  []client.Object
		want    keystore.Outcome
		writes  int
	}{
		"created":                         {trigger(), nil, created, 1},
		"created with an idempotency key": {trigger(delivery), nil, created, 2},
		"behind a run that executes":      {trigger(), objects(executing("a")), created, 1},
		"coalesced":                       {trigger(skip), objects(waiting("a")), coalesced, 0},
		"delivered before":                {trigger(delivery), objects(owned("a")), idempotent, 0},
	} {
		t.Run(name, func(t *testing.T) {
			store := wrappers.NewStore(nil, tc.stored...)
			for range 2 {
				got, err := newStore(store, store).Admit(context.Background(), wrappers.Namespace, tc.trigger, false, asItIs)
				if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
					t.Errorf("outcome (-want +got), error %v:\n%s", err, diff)
				}
			}
			if n := len(store.Writes()); n != tc.writes {
				t.Errorf("%d writes, want %d: %v", n, tc.writes, store.Writes())
			}
		})
	}
}

// Two deliveries run at once: the second is admitted before or after one of the writes of the first.
func TestAdmitTwins(t *testing.T) {
	for write := range 2 {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("at write %d, after %t", write, after), func(t *testing.T) {
				store := wrappers.NewStore(nil)
				x := newStore(store, wrappers.NewStore(nil))
				var second keystore.Outcome
				var secondErr error
				n := 0
				step := func(string, client.Object) error {
					if n++; n == write+1 {
						second, secondErr = x.Admit(context.Background(), wrappers.Namespace, trigger(delivery, twin), false, asItIs)
					}
					return nil
				}
				if after {
					store.After = step
				} else {
					store.Before = step
				}
				first, err := x.Admit(context.Background(), wrappers.Namespace, trigger(delivery), false, asItIs)
				if err != nil || secondErr != nil {
					t.Fatalf("errors %v, %v", err, secondErr)
				}
				winner, loser := first, second
				if second.Disposition == v1alpha1.DispositionCreated {
					winner, loser = second, first
				}
				if winner.Disposition != v1alpha1.DispositionCreated ||
					loser != (keystore.Outcome{Disposition: v1alpha1.DispositionIdempotent, Run: winner.Run}) {
					t.Errorf("outcomes %+v, %+v", first, second)
				}
				if got := runkey.Pending(row(t, store, keyName)); got != winner.Run {
					t.Errorf("%v waits, want %v", got, winner.Run)
				}
				if got := runkey.Owner(row(t, store, ownerName)); got != winner.Run {
					t.Errorf("%v owns the idempotency key, want %v", got, winner.Run)
				}
			})
		}
	}
}

// errLost is the error of a write whose answer was lost.
var errLost = errors.New("connection reset")

// A write that failed may have happened. The trigger must not keep its key.
func TestAdmitGivesBack(t *testing.T) {
	kindOf := func(o client.Object) v1alpha1.RunKeyKind { return o.(*v1alpha1.RunKey).Spec.Kind }
	for name, tc := range map[string]struct {
		stored []client.Object
		lose   v1alpha1.RunKeyKind
		refuse bool
		want   *v1alpha1.RunKeySpec
	}{
		"the answer to the reservation is lost": {lose: v1alpha1.RunKeyConcurrency},
		"the reservation does not arrive":       {lose: v1alpha1.RunKeyConcurrency, refuse: true},
		"the answer is lost and a run executes": {
			stored: objects(executing("a")), lose: v1alpha1.RunKeyConcurrency, want: wrappers.MakeRunKey("k").Leased("a", 1, "9").Row(),
		},
		"the answer about the idempotency key is lost": {lose: v1alpha1.RunKeyIdempotency},
		"the idempotency key does not arrive":          {lose: v1alpha1.RunKeyIdempotency, refuse: true},
	} {
		t.Run(name, func(t *testing.T) {
			store := wrappers.NewStore(nil, tc.stored...)
			done := false
			fail := func(_ string, o client.Object) error {
				if done || kindOf(o) != tc.lose {
					return nil
				}
				done = true
				return errLost
			}
			if tc.refuse {
				store.Before = fail
			} else {
				store.After = fail
			}
			_, err := newStore(store, store).Admit(context.Background(), wrappers.Namespace, trigger(delivery), false, asItIs)
			if !errors.Is(err, errLost) {
				t.Errorf("error %v, want %v", err, errLost)
			}
			if diff := cmp.Diff(tc.want, row(t, store, keyName)); diff != "" {
				t.Errorf("concurrency key (-want +got):\n%s", diff)
			}
		})
	}
}

// The key is given back after the caller's deadline, too.
func TestAdmitGivesBackWhenTimeIsUp(t *testing.T) {
	store := wrappers.NewStore(nil)
	ctx, cancel := context.WithCancel(context.Background())
	store.After = func(verb string, _ client.Object) error {
		if verb == "create" {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	if _, err := newStore(store, store).Admit(ctx, wrappers.Namespace, trigger(), false, asItIs); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got := row(t, store, keyName); got != nil {
		t.Errorf("left taken: %+v", got)
	}
}

func TestAdmitCannotGiveBack(t *testing.T) {
	store := wrappers.NewStore(nil)
	forbidden := apierrors.NewForbidden(anyRunKeys, "k", errors.New("x"))
	store.After = func(verb string, _ client.Object) error {
		if verb == "create" {
			return errLost
		}
		return nil
	}
	store.Before = func(verb string, _ client.Object) error {
		if verb == "delete" {
			return forbidden
		}
		return nil
	}
	_, err := newStore(store, store).Admit(context.Background(), wrappers.Namespace, trigger(), false, asItIs)
	if !errors.Is(err, errLost) || !errors.Is(err, forbidden) {
		t.Errorf("error %v, want both", err)
	}
}

// Giving a key back may lose a race and is tried again.
func TestGiveBackRetries(t *testing.T) {
	store := wrappers.NewStore(nil)
	once := true
	store.After = func(verb string, _ client.Object) error {
		if verb == "create" {
			return errLost
		}
		return nil
	}
	store.Before = func(verb string, _ client.Object) error {
		if verb == "delete" && once {
			once = false
			key := &v1alpha1.RunKey{}
			if err := store.Get(context.Background(), keyName, key); err != nil {
				t.Fatal(err)
			}
			key.Labels = map[string]string{"touched": "true"}
			if err := store.Update(context.Background(), key); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	}
	if _, err := newStore(store, store).Admit(context.Background(), wrappers.Namespace, trigger(), false, asItIs); !errors.Is(err, errLost) {
		t.Errorf("error %v", err)
	}
	if got := row(t, store, keyName); got != nil {
		t.Errorf("left taken: %+v", got)
	}
}

// A key that has another run by now is not given back.
func TestGiveBackLeavesOthers(t *testing.T) {
	store := wrappers.NewStore(nil)
	store.After = func(verb string, _ client.Object) error {
		if verb != "create" {
			return nil
		}
		key := &v1alpha1.RunKey{}
		if err := store.Get(context.Background(), keyName, key); err != nil {
			t.Fatal(err)
		}
		key.Spec = *wrappers.MakeRunKey("k").Pending("x").Row()
		if err := store.Update(context.Background(), key); err != nil {
			t.Fatal(err)
		}
		return errLost
	}
	if _, err := newStore(store, store).Admit(context.Background(), wrappers.Namespace, trigger(), false, asItIs); !errors.Is(err, errLost) {
		t.Errorf("error %v", err)
	}
	if got := runkey.Pending(row(t, store, keyName)); got != id("x") {
		t.Errorf("%v waits, want x", got)
	}
}

// A row of another key with the same name is an error.
func TestAdmitHashCollision(t *testing.T) {
	collide := func(key *wrappers.RunKeyWrapper) client.Object {
		key.RunKey.Spec.Key = "another key"
		return key.Obj()
	}
	for name, tc := range map[string]struct {
		stored  client.Object
		trigger runkey.Trigger
	}{
		"a run waits":                   {collide(wrappers.MakeRunKey("k").Pending("a")), trigger()},
		"a run waits, and it coalesces": {collide(wrappers.MakeRunKey("k").Pending("a")), trigger(skip)},
		"an idempotency key":            {collide(wrappers.MakeIdempotencyKey("i").Owner("a")), trigger(delivery)},
	} {
		t.Run(name, func(t *testing.T) {
			store := wrappers.NewStore(nil, tc.stored)
			out, err := newStore(store, store).Admit(context.Background(), wrappers.Namespace, tc.trigger, false, asItIs)
			if err == nil || !strings.Contains(err.Error(), `belongs to job "job", key "another key"`) {
				t.Errorf("outcome %+v, error %v", out, err)
			}
			if writes := store.Writes(); len(writes) > 0 {
				t.Errorf("written: %v", writes)
			}
		})
	}
}

// If a read fails, the admission ends and takes no key.
func TestAdmitReadErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		fail    func(store, cached *wrappers.Store)
		trigger runkey.Trigger
	}{
		"the cache":                        {func(_, cached *wrappers.Store) { cached.Read = broken("c-") }, trigger()},
		"the cache, of an idempotency key": {func(_, cached *wrappers.Store) { cached.Read = broken("i-") }, trigger(delivery)},
		"live":                             {func(store, _ *wrappers.Store) { store.Read = broken("c-") }, trigger()},
		"live, of an idempotency key":      {func(store, _ *wrappers.Store) { store.Read = broken("i-") }, trigger(delivery)},
		"live, of the JobRun": {
			func(store, _ *wrappers.Store) { store.Read = broken("b") },
			trigger(func(t *runkey.Trigger) { t.ConcurrencyKey = "same name" }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			same := wrappers.MakeRunKey("same name").PendingAs("b", "earlier").Obj()
			store, cached := wrappers.NewStore(nil, waiting("a"), owned("a"), same), wrappers.NewStore(nil, waiting("a"), owned("a"))
			tc.fail(store, cached)
			if out, err := newStore(store, cached).Admit(context.Background(), wrappers.Namespace, tc.trigger, false, asItIs); !errors.Is(err, errLost) {
				t.Errorf("outcome %+v, error %v", out, err)
			}
			if writes := store.Writes(); len(writes) > 0 {
				t.Errorf("written: %v", writes)
			}
		})
	}
}

func broken(prefix string) func(client.ObjectKey, client.Object) error {
	return func(key client.ObjectKey, _ client.Object) error {
		if strings.HasPrefix(key.Name, prefix) {
			return errLost
		}
		return nil
	}
}

// Of many triggers of one key at once, one becomes a run, the others are answered with it, and they share
// live reads.
func TestAdmitStorm(t *testing.T) {
	const callers = 300
	store := wrappers.NewStore(nil)
	replicas := []*keystore.Store{newStore(store, wrappers.NewStore(nil)), newStore(store, wrappers.NewStore(nil)), newStore(store, wrappers.NewStore(nil))}
	outcomes := make([]keystore.Outcome, callers)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			own := trigger(skip, func(t *runkey.Trigger) { t.Run = id(fmt.Sprintf("run-%d", i)) })
			out, err := replicas[i%len(replicas)].Admit(context.Background(), wrappers.Namespace, own, false, asItIs)
			if err != nil {
				t.Error(err)
			}
			outcomes[i] = out
		})
	}
	wait.Wait()
	winner := runkey.Pending(row(t, store, keyName))
	creations := 0
	for _, out := range outcomes {
		if out.Run != winner {
			t.Errorf("%+v, want %v", out, winner)
		}
		if out.Disposition == v1alpha1.DispositionCreated {
			creations++
		}
	}
	if creations != 1 || len(store.Writes()) != 1 {
		t.Errorf("%d runs, writes %v", creations, store.Writes())
	}
}
