// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func TestReleasesAfter(t *testing.T) {
	released := map[v1alpha1.Phase]bool{v1alpha1.PhaseFailed: true, v1alpha1.PhaseCancelled: true}
	for _, end := range []v1alpha1.Phase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled, v1alpha1.PhaseLeased, ""} {
		onFailure := runkey.Terms{TTLSeconds: 60, Release: v1alpha1.IdempotencyReleaseOnFailure}
		if got := onFailure.ReleasesAfter(end); got != released[end] {
			t.Errorf("OnFailure after %q: %t", end, got)
		}
		for _, release := range []v1alpha1.IdempotencyReleasePolicy{"", v1alpha1.IdempotencyReleaseNever} {
			if (runkey.Terms{Release: release}).ReleasesAfter(end) {
				t.Errorf("%q after %q", release, end)
			}
		}
	}
}

func TestRemember(t *testing.T) {
	key := wrappers.MakeIdempotencyKey("i").Owner("a").Remembered(60).Row()
	outcome := runkey.OutcomeOf(wrappers.MakeJobRun("a").Created().Ended(v1alpha1.PhaseCompleted).Obj())
	for after, want := range map[time.Duration]metav1.Time{
		0:                      wrappers.At(60),
		time.Millisecond:       wrappers.At(61), // It never lasts shorter than the TTL, and the API server stores whole seconds.
		999 * time.Millisecond: wrappers.At(61),
		time.Second:            wrappers.At(61),
	} {
		before := key.DeepCopy()
		next := runkey.Remember(key, outcome, metav1.NewTime(wrappers.Epoch.Add(after)))
		if got := runkey.Remembered(next); got.Phase != v1alpha1.PhaseCompleted || !got.ForgetTime.Equal(&want) {
			t.Errorf("after %s: %+v, want until %s", after, got, want)
		}
		if diff := cmp.Diff(before, key); diff != "" {
			t.Errorf("Remember changed the key it came from:\n%s", diff)
		}
		if runkey.AwaitsOutcome(next) || !runkey.AwaitsOutcome(key) {
			t.Error("which key awaits an outcome?")
		}
	}
}

func TestOutcomeOf(t *testing.T) {
	ended := func(output, message string) *v1alpha1.JobRun {
		run := wrappers.MakeJobRun("a").Created().Error(message).Ended(v1alpha1.PhaseFailed).Reported().Obj()
		if output != "" {
			run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(output)}
		}
		return run
	}
	long := `"` + strings.Repeat("x", v1alpha1.MaxRememberedOutputBytes) + `"`
	for name, tc := range map[string]struct {
		run           *v1alpha1.JobRun
		output, error string
	}{
		"nothing":                       {run: ended("", "")},
		"an output":                     {run: ended(`{"x":1}`, ""), output: `{"x":1}`},
		"an error":                      {run: ended("", "no"), error: "no"},
		"a large output":                {run: ended(long, ""), error: "the output of run a is gone: it had 1026 bytes, and a key remembers at most 1024"},
		"a large output and an error":   {run: ended(long, "no"), error: "no"},
		"an output of the largest size": {run: ended(long[2:], ""), output: long[2:]},
	} {
		t.Run(name, func(t *testing.T) {
			want := &v1alpha1.RememberedOutcome{
				UID: tc.run.UID, Phase: v1alpha1.PhaseFailed, Reason: "Failed", Error: tc.error, Output: tc.output,
				CompletionTime: wrappers.Epoch.DeepCopy(),
			}
			if diff := cmp.Diff(want, runkey.OutcomeOf(tc.run)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

// A name may take a reservation over, but not a key that outlives its owner.
func TestOwnOfTheSameName(t *testing.T) {
	key := func() *wrappers.RunKeyWrapper { return wrappers.MakeIdempotencyKey("i").OwnerAs("a", "earlier") }
	for name, tc := range map[string]struct {
		key   *v1alpha1.RunKeySpec
		owner string
		want  runkey.Verdict
	}{
		"a key that lasts as long as its owner":              {key().Row(), "a", runkey.SameName},
		"a key that lasts as long as its owner, for another": {key().Row(), "b", runkey.Delivered},
		"a key with a TTL": {key().Remembered(60).Request("first").Row(), "a", runkey.Delivered},
		"a key with a TTL, and the request was resent": {key().Remembered(60).Request("again").Row(), "a", runkey.SameName},
		"a request that was resent, for another":       {key().Remembered(60).Request("again").Row(), "b", runkey.SameName},
		"a key with a TTL that passed on":              {key().Remembered(60).Row(), "a", runkey.Delivered},
		"a key that remembers": {
			key().Remembered(60).Request("first").Outcome(v1alpha1.PhaseCompleted, wrappers.At(60)).Row(), "a", runkey.Delivered,
		},
	} {
		t.Run(name, func(t *testing.T) {
			trigger := runkey.Trigger{Run: id("a"), JobName: wrappers.JobName, IdempotencyKey: "i", Request: "again"}
			if got := runkey.Own(tc.key, trigger, id(tc.owner)); got.Verdict != tc.want {
				t.Errorf("verdict %v, want %v", got.Verdict, tc.want)
			}
		})
	}
}

// The row has the terms of the delivery that brings it, whichever run stands for the delivery.
func TestOwnCopiesTheTerms(t *testing.T) {
	trigger := runkey.Trigger{
		Run: id("b"), JobName: wrappers.JobName, IdempotencyKey: "i", Request: "r",
		Terms: runkey.Terms{TTLSeconds: 60, Release: v1alpha1.IdempotencyReleaseOnFailure},
	}
	want := wrappers.MakeIdempotencyKey("i").Owner("a").Remembered(60).ReleasedOnFailure().Request("r").Row()
	if diff := cmp.Diff(want, runkey.Own(nil, trigger, id("a")).Next); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	trigger.Terms.TTLSeconds = 0
	want.IdempotencyTTLSeconds, want.Request = 0, ""
	if diff := cmp.Diff(want, runkey.Own(nil, trigger, id("a")).Next); diff != "" {
		t.Errorf("row without a TTL (-want +got):\n%s", diff)
	}
}
