// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"

	clocktesting "k8s.io/utils/clock/testing"
)

// The answer to a second delivery says how the run of the first one ended, and what to do to execute again.
func TestWarningAboutAnEndedRun(t *testing.T) {
	owned := func() *wrappers.RunKeyWrapper { return wrappers.MakeIdempotencyKey("it's").Owner("a") }
	ended := func(phase v1alpha1.Phase) *v1alpha1.JobRun {
		return wrappers.MakeJobRun("a").IdempotencyKey("it's").Created().Ended(phase).Reported().Obj()
	}
	at := wrappers.Epoch.UTC().Format("2006-01-02T15:04:05Z")
	again := `; to execute again, use another idempotencyKey, or release this one: ` +
		`kubectl jobrun release-key job -n default --idempotency-key 'it'\''s'`
	byItself := "; a first delivery with idempotencyRelease: OnFailure releases it by itself"
	for name, tc := range map[string]struct {
		stored []client.Object
		want   string
	}{
		"it executes":  {[]client.Object{owned().Obj(), wrappers.MakeJobRun("a").IdempotencyKey("it's").Created().Leased(1, "5").Obj()}, ""},
		"it completed": {[]client.Object{owned().Obj(), ended(v1alpha1.PhaseCompleted)}, "run a completed at " + at + again},
		"it failed":    {[]client.Object{owned().Obj(), ended(v1alpha1.PhaseFailed)}, "run a failed at " + at + again + byItself},
		"it was cancelled": {
			[]client.Object{owned().Obj(), ended(v1alpha1.PhaseCancelled)}, "run a was cancelled at " + at + again + byItself,
		},
		"it failed, and its key is about to be released": {
			[]client.Object{owned().ReleasedOnFailure().Obj(), ended(v1alpha1.PhaseFailed)},
			"run a failed at " + at + " and is about to release its idempotencyKey: trigger again",
		},
		"it is gone, and its key remembers it": {
			[]client.Object{owned().Remembered(60).Outcome(v1alpha1.PhaseFailed, wrappers.At(60)).Obj()},
			"run a failed at " + at + ", and its idempotencyKey is remembered until " +
				wrappers.At(60).UTC().Format("2006-01-02T15:04:05Z") + again + byItself,
		},
		"another run has its name": {
			[]client.Object{owned().Obj(), wrappers.MakeJobRun("a").Created().Token("later").Ended(v1alpha1.PhaseFailed).Obj()}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			response := newReplica(t, tc.stored...).create(t, "metadata: {name: b}\nspec: {jobName: job, idempotencyKey: it's}\n")
			if !response.Allowed {
				t.Fatalf("refused: %v", response.Result)
			}
			got := strings.Join(response.Warnings[1:], "\n")
			if got != tc.want {
				t.Errorf("warning\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// The row gets the terms of the delivery that brings the key, once all replicas know them.
func TestTermsOfADelivery(t *testing.T) {
	manifest := "metadata: {name: b}\nspec: {jobName: job, idempotencyKey: i, idempotencyTTLSeconds: 60, idempotencyRelease: OnFailure}\n"
	for memory, want := range map[bool]*v1alpha1.RunKeySpec{
		true:  wrappers.MakeIdempotencyKey("i").OwnerAs("b", "token-b").Remembered(60).ReleasedOnFailure().Request("request").Row(),
		false: wrappers.MakeIdempotencyKey("i").OwnerAs("b", "token-b").Row(),
	} {
		store := wrappers.NewStore(nil)
		handler, err := webhook.NewHandler(webhook.Options{
			Keys: keystore.New(keystore.Options{
				Cached: store, Live: store, Writer: store, Clock: clocktesting.NewFakePassiveClock(wrappers.Epoch.Time),
			}),
			Cached: store, Live: store, NewToken: tokens("token-b"), Memory: func() bool { return memory },
		})
		if err != nil {
			t.Fatal(err)
		}
		response := replica{handler, store, store}.create(t, manifest, func(req *admission.Request) { req.UID = "request" })
		if !response.Allowed {
			t.Fatalf("refused: %v", response.Result)
		}
		key := &v1alpha1.RunKey{}
		name := types.NamespacedName{Namespace: wrappers.Namespace, Name: v1alpha1.IdempotencyKeyName("job", "i")}
		if err := store.Get(t.Context(), name, key); err != nil {
			t.Fatal(err)
		}
		if runkey.TermsIn(&key.Spec) != runkey.TermsIn(want) || key.Spec.Request != want.Request {
			t.Errorf("memory %t: the row is %+v", memory, key.Spec)
		}
	}
}
