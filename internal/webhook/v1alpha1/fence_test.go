// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// A Job of a keyed run is allowed exactly while the key leases its run under its token and generation.
func TestFenceOfKey(t *testing.T) {
	run := wrappers.MakeKeyedRun("a").Obj()
	for name, tc := range map[string]struct {
		key  *wrappers.RunKeyWrapper
		want string
	}{
		"leased":             {wrappers.MakeRunKey("k").Leased("a", 2, "5").Pending("b"), ""},
		"an earlier lease":   {wrappers.MakeRunKey("k").Leased("a", 1, "5"), "leases generation 1 of run a: only the operator creates"},
		"a later lease":      {wrappers.MakeRunKey("k").Leased("a", 3, "5"), "leases generation 3 of run a: only the operator creates"},
		"another run":        {wrappers.MakeRunKey("k").Leased("b", 2, "5"), "leases generation 2 of run b: only the operator creates"},
		"a run of that name": {leasedAs("a", "token-later"), "leases generation 2 of run a with another token"},
		"waiting":            {wrappers.MakeRunKey("k").Pending("a"), "leases no run"},
		"no key":             {nil, "leases no run"},
		"another key":        {wrappers.MakeRunKey("l").Leased("a", 2, "5"), "leases no run"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, run)
			if tc.key != nil {
				r = newReplica(t, run, tc.key.Obj())
			}
			checkFenced(t, r.fence(t, executor.NewJob(run, 2, "5")), tc.want)
		})
	}
}

// While the key leases a run, its Job is allowed unless the run is over (P4).
func TestFenceOfRunWithKey(t *testing.T) {
	made := func() *wrappers.JobRunWrapper { return wrappers.MakeKeyedRun("a") }
	for name, tc := range map[string]struct {
		run  *wrappers.JobRunWrapper
		want string
	}{
		"without phase":          {made(), ""},
		"waiting":                {made().Pending(), ""},
		"fenced":                 {made().Leased(1, "5").Fenced().Pending(), ""},
		"its claim is stored":    {made().Leased(2, "5"), ""},
		"ended":                  {made().Leased(2, "5").Ended(v1alpha1.PhaseFailed), "is Failed"},
		"ended without a lease":  {made().Ended(v1alpha1.PhaseCancelled), "is Cancelled"},
		"a receipt":              {made().BoundTo("b"), "is Coalesced"},
		"cancelled":              {made().Cancel(), "is being cancelled"},
		"cancelled while leased": {made().Leased(2, "5").Cancel(), "is being cancelled"},
		"being deleted":          {made().Deleting(), "is being cancelled"},
		"a run of that name":     {made().UID("later"), "is another run of that name"},
		"gone":                   {nil, "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{wrappers.MakeRunKey("k").Leased("a", 2, "5").Obj()}
			if tc.run != nil {
				tc.run.Finalizers = []string{"x"} // The model keeps no object that is being deleted without one.
				objects = append(objects, tc.run.Obj())
			}
			checkFenced(t, newReplica(t, objects...).fence(t, executor.NewJob(made().Obj(), 2, "5")), tc.want)
		})
	}
}

func leasedAs(run, token string) *wrappers.RunKeyWrapper {
	key := wrappers.MakeRunKey("k").Leased(run, 2, "5")
	key.Spec.Leased.Token = token
	return key
}

// A Job of a run without a key is allowed exactly while the run may have a Job of that generation.
func TestFenceOfRunWithoutKey(t *testing.T) {
	made := func() *wrappers.JobRunWrapper { return wrappers.MakeKeylessRun("a") }
	for name, tc := range map[string]struct {
		run        *wrappers.JobRunWrapper
		generation int64
		want       string
	}{
		"the first claim":          {made(), 1, ""},
		"the first claim, Pending": {made().Pending(), 1, ""},
		"leased":                   {made().Leased(1, ""), 1, ""},
		"the claim after a fence":  {made().Leased(1, "").Fenced().Pending(), 3, ""},
		"a generation too far":     {made().Leased(1, ""), 2, "is Leased, and its generation is 1"},
		"an earlier generation":    {made().Leased(1, "").Fenced().Pending(), 1, "is Pending, and its generation is 2"},
		"the fence's generation":   {made().Leased(1, "").Fenced().Pending(), 2, "is Pending, and its generation is 2"},
		"not yet":                  {made(), 2, "is without phase, and its generation is 0"},
		"ended":                    {made().Leased(1, "").Ended(v1alpha1.PhaseFailed), 1, "is Failed"},
		"ended, next generation":   {made().Leased(1, "").Ended(v1alpha1.PhaseFailed), 2, "is Failed"},
		"a receipt":                {made().BoundTo("b"), 1, "is Coalesced"},
		"cancelled":                {made().Cancel(), 1, "is being cancelled"},
		"cancelled, leased":        {made().Leased(1, "").Cancel(), 1, "is being cancelled"},
		"being deleted":            {made().Deleting(), 1, "is being cancelled"},
		"a run of that name":       {made().UID("later"), 1, "is another run of that name"},
		"another token":            {made().Token("later"), 1, "is another run of that name"},
		"a key was left out":       {made().Key("k").Leased(1, "5"), 1, "has a concurrencyKey"},
		"gone":                     {nil, 1, "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			if tc.run != nil {
				tc.run.Finalizers = []string{"x"} // The model keeps no object that is being deleted without one.
				r = newReplica(t, tc.run.Obj())
			}
			checkFenced(t, r.fence(t, executor.NewJob(made().Obj(), tc.generation, "")), tc.want)
		})
	}
}

// The operator's own form of a Job is the only one.
func TestFenceOfMalformedJob(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(job *batchv1.Job)
		want   string
	}{
		"no run":                   {label(v1alpha1.LabelRun, ""), "metadata.labels[batch.jobrun.dev/run]"},
		"another run":              {label(v1alpha1.LabelRun, "b"), "metadata.name"},
		"no key":                   {label(v1alpha1.LabelKey, ""), "metadata.labels[batch.jobrun.dev/key]"},
		"not a key":                {label(v1alpha1.LabelKey, "k"), "metadata.labels[batch.jobrun.dev/key]"},
		"an idempotency key":       {label(v1alpha1.LabelKey, "i-k"), "metadata.labels[batch.jobrun.dev/key]"},
		"no token":                 {annotation(v1alpha1.AnnotationToken, ""), "metadata.annotations[batch.jobrun.dev/token]"},
		"no generation":            {annotation(v1alpha1.AnnotationGeneration, ""), "metadata.annotations[batch.jobrun.dev/generation]"},
		"another generation":       {annotation(v1alpha1.AnnotationGeneration, "3"), "metadata.annotations[batch.jobrun.dev/generation]"},
		"a generation with a sign": {annotation(v1alpha1.AnnotationGeneration, "+2"), "metadata.annotations[batch.jobrun.dev/generation]"},
		"another name":             {func(job *batchv1.Job) { job.Name = "copy" }, "metadata.name"},
		"a name like one":          {func(job *batchv1.Job) { job.Name = "a-02" }, "metadata.name"},
		"no owner":                 {func(job *batchv1.Job) { job.OwnerReferences = nil }, "metadata.ownerReferences"},
		"no controller":            {func(job *batchv1.Job) { job.OwnerReferences[0].Controller = nil }, "metadata.ownerReferences"},
		"the owner is another run": {func(job *batchv1.Job) { job.OwnerReferences[0].Name = "b" }, "metadata.ownerReferences"},
		"the owner is no JobRun":   {func(job *batchv1.Job) { job.OwnerReferences[0].Kind = "CronJob" }, "metadata.ownerReferences"},
	} {
		t.Run(name, func(t *testing.T) {
			run := wrappers.MakeKeyedRun("a").Leased(2, "5").Obj()
			r := newReplica(t, run, wrappers.MakeRunKey("k").Leased("a", 2, "5").Obj())
			job := executor.NewJob(run, 2, "5")
			tc.change(job)
			response := r.fence(t, job)
			if response.Allowed || response.Result.Code != http.StatusUnprocessableEntity || response.Result.Details.Causes[0].Field != tc.want {
				t.Errorf("allowed %t, %.300v; want %s named", response.Allowed, response.Result, tc.want)
			}
			if r.live.Reads() > 0 {
				t.Error("the API server was asked")
			}
		})
	}
}

func label(name, value string) func(*batchv1.Job) {
	return func(job *batchv1.Job) { job.Labels[name] = value }
}

func annotation(name, value string) func(*batchv1.Job) {
	return func(job *batchv1.Job) { job.Annotations[name] = value }
}

// A create is refused, and may be tried again, if the lease cannot be read.
func TestFenceThatCannotRead(t *testing.T) {
	for name, run := range map[string]*wrappers.JobRunWrapper{
		"a key": wrappers.MakeKeyedRun("a"), "a run without a key": wrappers.MakeKeylessRun("a"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, run.Obj(), wrappers.MakeRunKey("k").Leased("a", 1, "5").Obj())
			r.live.Read = func(client.ObjectKey, client.Object) error { return errors.New("connection refused") }
			response := r.fence(t, executor.NewJob(run.Obj(), 1, "5"))
			if response.Allowed || response.Result.Code != http.StatusInternalServerError {
				t.Errorf("allowed %t, %.300v", response.Allowed, response.Result)
			}
		})
	}
}

// checkFenced checks that a Job is refused for a reason, or allowed if the reason is empty.
func checkFenced(t *testing.T, response admission.Response, why string) {
	t.Helper()
	if response.Allowed != (why == "") {
		t.Fatalf("allowed %t, %.300v; want %q", response.Allowed, response.Result, why)
	}
	if why == "" {
		return
	}
	if response.Result.Reason != metav1.StatusReasonConflict || !strings.Contains(response.Result.Message, why) {
		t.Errorf("%.300v; want a conflict: %q", response.Result, why)
	}
}

func (r replica) fence(t *testing.T, job *batchv1.Job) admission.Response {
	t.Helper()
	body, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	keys := keystore.New(keystore.Options{Cached: r.store, Live: r.live, Writer: r.live})
	handler := webhook.NewFenceHandler(webhook.Options{Keys: keys, Cached: r.store, Live: r.live})
	return handler.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Name: job.Name, Namespace: job.Namespace, Object: runtime.RawExtension{Raw: body},
	}})
}
