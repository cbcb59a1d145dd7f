// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

const syncPath = "/v1/namespaces/default/jobs/sync/runs"

// blocking stores a JobRun, but waits before it answers.
func blocking(entered, leave chan struct{}) func(*v1alpha1.JobRun, func() error) error {
	return func(run *v1alpha1.JobRun, store func() error) error {
		run.Spec.Admission = apiserver.Created(run.Name)
		if entered != nil {
			close(entered)
			<-leave
		}
		return store()
	}
}

// admitting stores each JobRun with an admission.
func admitting(admission func(name string) *v1alpha1.Admission) *apiserver.Server {
	s := apiserver.New()
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		run.Spec.Admission = admission(run.Name)
		return store()
	}
	return s
}

func TestTriggerCreated(t *testing.T) {
	s := admitting(apiserver.Created)
	got := newGate(t, s).send("POST", syncPath, `{"input":{"org":"acme"},"concurrencyKey":"k","coalesce":"Skip","labels":{"team":"a"}}`, "Idempotency-Key", "once")
	var answer TriggerAnswer
	got.decode(&answer)
	if got.Code != http.StatusCreated || answer.Disposition != v1alpha1.DispositionCreated || answer.Run != answer.Trigger || answer.Trigger == "" {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	run := s.Read(answer.Trigger)
	spec := run.Spec
	if run.Namespace != "default" || spec.JobName != "sync" || string(spec.Input.Raw) != `{"org":"acme"}` || spec.ConcurrencyKey != "k" ||
		spec.Coalesce != v1alpha1.CoalesceSkip || spec.IdempotencyKey != "once" || run.Labels["team"] != "a" ||
		run.Annotations[v1alpha1.AnnotationTriggeredBy] != "ann" {
		t.Errorf("stored %+v", run)
	}
}

func TestTriggerCoalesced(t *testing.T) {
	for _, disposition := range []v1alpha1.Disposition{v1alpha1.DispositionCoalesced, v1alpha1.DispositionIdempotent} {
		s := admitting(func(name string) *v1alpha1.Admission {
			return &v1alpha1.Admission{Disposition: disposition, RunName: "first", RunToken: "t", Token: name, KeyVersion: "7"}
		})
		got := newGate(t, s).send("POST", syncPath, `{"concurrencyKey":"k"}`)
		var answer TriggerAnswer
		got.decode(&answer)
		if got.Code != http.StatusOK || answer.Disposition != disposition || answer.Run != "first" || answer.Trigger == "first" || answer.KeyVersion != "7" {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	}
}

func TestTriggerRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		path, body string
		headers    []string
		code       int
		reason     metav1.StatusReason
		want       string
	}{
		"no JSON":               {syncPath, `{`, nil, 400, metav1.StatusReasonBadRequest, "body"},
		"an unknown field":      {syncPath, `{"concurencyKey":"k"}`, nil, 400, metav1.StatusReasonBadRequest, `unknown field "concurencyKey"`},
		"a field in lower case": {syncPath, `{"concurrencykey":"k"}`, nil, 400, metav1.StatusReasonBadRequest, `unknown field "concurrencykey"`},
		"a field twice":         {syncPath, `{"input":1,"input":2}`, nil, 400, metav1.StatusReasonBadRequest, `duplicate field "input"`},
		"a template":            {syncPath, `{"template":{}}`, nil, 400, metav1.StatusReasonBadRequest, `unknown field "template"`},
		"a job name":            {syncPath, `{"jobName":"other"}`, nil, 400, metav1.StatusReasonBadRequest, `unknown field "jobName"`},
		"an admission":          {syncPath, `{"admission":{}}`, nil, 400, metav1.StatusReasonBadRequest, `unknown field "admission"`},
		"two values":            {syncPath, `{} {}`, nil, 400, metav1.StatusReasonBadRequest, "body"},
		"two keys":              {syncPath, `{"idempotencyKey":"a"}`, []string{"Idempotency-Key", "b"}, 400, metav1.StatusReasonBadRequest, "Idempotency-Key"},
		"no time":               {syncPath + "?wait=30", ``, nil, 400, metav1.StatusReasonBadRequest, "wait must be"},
		"a long time":           {syncPath + "?wait=301s", ``, nil, 400, metav1.StatusReasonBadRequest, "at most 5m0s"},
		"a dry run of parts":    {syncPath + "?dryRun=true", ``, nil, 400, metav1.StatusReasonBadRequest, "dryRun must be All"},
		"no dry run":            {syncPath + "?dryRun=All;", ``, nil, 400, metav1.StatusReasonBadRequest, "query"},
		"no escape":             {syncPath + "?dryRun=All%2", ``, nil, 400, metav1.StatusReasonBadRequest, "query"},
		"a dry run to wait for": {syncPath + "?dryRun=All&wait=1s", ``, nil, 400, metav1.StatusReasonBadRequest, "dry run"},
		"another type":          {syncPath, `a=b`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, metav1.StatusReasonUnsupportedMediaType, "application/json"},
		"too large":             {syncPath, `{"input":"` + strings.Repeat("x", maxTriggerBytes) + `"}`, nil, 413, metav1.StatusReasonRequestEntityTooLarge, "262144 bytes"},
		"a long input":          {syncPath, `{"input":"` + strings.Repeat("x", 64<<10) + `"}`, nil, 422, metav1.StatusReasonInvalid, "spec.input"},
		"a key without end":     {syncPath, `{"concurrencyKey":"` + strings.Repeat("k", 257) + `"}`, nil, 422, metav1.StatusReasonInvalid, "spec.concurrencyKey"},
		"a bad label":           {syncPath, `{"labels":{"a b":"c"}}`, nil, 422, metav1.StatusReasonInvalid, "metadata.labels"},
	} {
		t.Run(name, func(t *testing.T) {
			s := admitting(apiserver.Created)
			status := newGate(t, s).send("POST", tc.path, tc.body, tc.headers...).wantStatus(tc.code, tc.reason)
			if !strings.Contains(status.Message, tc.want) {
				t.Errorf("%q does not have %q", status.Message, tc.want)
			}
			if n := s.Stored(apiserver.JobRuns); n > 0 {
				t.Errorf("%d are stored", n)
			}
		})
	}
}

// What the API server answers about a trigger is the answer, with its causes. What it says about the gateway is not.
func TestTriggerRefusedByTheAPIServer(t *testing.T) {
	conflict := apierrors.NewConflict(apiserver.JobRuns, "b", errors.New("run a is pending"))
	conflict.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: v1alpha1.CausePendingRun, Field: "spec.concurrencyKey", Message: "a"}}
	own := apierrors.NewForbidden(apiserver.JobRuns, "", errors.New(`User "gateway" cannot create resource "jobruns" in API group "batch.jobrun.dev" in the namespace "ns"`))
	for name, tc := range map[string]struct {
		err    error
		code   int
		reason metav1.StatusReason
	}{
		"a waiting run":        {conflict, 409, metav1.StatusReasonConflict},
		"a quota":              {apierrors.NewForbidden(apiserver.JobRuns, "b", errors.New("exceeded quota")), 403, metav1.StatusReasonForbidden},
		"no such namespace":    {apierrors.NewNotFound(apiserver.JobRuns, "ns"), 404, metav1.StatusReasonNotFound},
		"the gateway's right":  {own, 500, metav1.StatusReasonInternalError},
		"the gateway's token":  {apierrors.NewUnauthorized("Unauthorized"), 503, metav1.StatusReasonServiceUnavailable},
		"too many requests":    {apierrors.NewTooManyRequests("slow down", 3), 429, metav1.StatusReasonTooManyRequests},
		"no webhook":           {apierrors.NewInternalError(errors.New(`failed calling webhook "mjobrun.batch.jobrun.dev": no endpoints`)), 503, metav1.StatusReasonServiceUnavailable},
		"no API server":        {apiserver.Refused(), 503, metav1.StatusReasonServiceUnavailable},
		"a failed API server":  {apierrors.NewInternalError(errors.New("etcdserver: request timed out")), 504, metav1.StatusReasonTimeout},
		"an unreadable answer": {&url.Error{Op: "Post", Err: errors.New("EOF")}, 504, metav1.StatusReasonTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, begun := apiserver.New(), time.Now()
				s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return tc.err }
				status := newGate(t, s).send("POST", syncPath, "{}").wantStatus(tc.code, tc.reason)
				if tc.code == 409 && (status.Details == nil || len(status.Details.Causes) != 1 || status.Details.Causes[0].Message != "a") {
					t.Errorf("causes: %+v", status.Details)
				}
				if tc.code == 504 && !strings.HasPrefix(status.Details.Name, "sync-") {
					t.Errorf("details: %+v", status.Details)
				}
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// A create whose answer was lost is found under its name.
func TestTriggerWithALostAnswer(t *testing.T) {
	s := apiserver.New()
	lost := false
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		run.Spec.Admission = apiserver.Created(run.Name)
		if err := store(); err != nil || lost {
			return err
		}
		lost = true
		return apiserver.Reset()
	}
	if got := newGate(t, s).send("POST", syncPath, "{}"); got.Code != http.StatusCreated || s.Stored(apiserver.JobRuns) != 1 {
		t.Errorf("%d %s, stored %d", got.Code, got.Body, s.Stored(apiserver.JobRuns))
	}
}

// leaving is an API server to which a request gets only while its context lasts. Its client leaves when a create begins.
type leaving struct {
	*apiserver.Server
	leave func()
}

func (l leaving) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	l.leave()
	return errors.Join(ctx.Err(), l.Server.Create(ctx, object, options...))
}

// A client that leaves cancels nothing.
func TestTriggerOfAClientThatLeaves(t *testing.T) {
	s := admitting(apiserver.Created)
	ctx, leave := context.WithCancel(t.Context())
	g := newGate(t, leaving{s, leave})
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, syncPath+"?wait=300s", http.NoBody)
	r.Header.Set("Authorization", "Bearer ann")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r) // it does not wait
	if w.Code != http.StatusCreated || s.Stored(apiserver.JobRuns) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWaitForTheOutcome(t *testing.T) {
	output := &apiextensionsv1.JSON{Raw: []byte(`{"users":42}`)}
	for name, tc := range map[string]struct {
		status v1alpha1.JobRunStatus
		want   TriggerAnswer
	}{
		"completed": {v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseCompleted, Output: output}, TriggerAnswer{Phase: v1alpha1.PhaseCompleted, Output: output}},
		"failed":    {v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseFailed, Error: "no disk"}, TriggerAnswer{Phase: v1alpha1.PhaseFailed, Error: "no disk"}},
		"cancelled": {v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseCancelled, Error: "why not"}, TriggerAnswer{Phase: v1alpha1.PhaseCancelled, Error: "why not"}},
		"not yet":   {v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseLeased, Error: "no image"}, TriggerAnswer{Phase: v1alpha1.PhaseLeased, Error: "no image"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apiserver.New()
				s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
					run.Spec.Admission = apiserver.Created(run.Name)
					name := run.Name
					defer time.AfterFunc(time.Second, func() { s.Change(name, func(run *v1alpha1.JobRun) { run.Status = tc.status }) })
					return store()
				}
				g, begun := newGate(t, s), time.Now()
				defer g.Drain()
				go g.followEvents(t.Context())
				got := g.send("POST", syncPath+"?wait=30s", "{}")
				var answer TriggerAnswer
				got.decode(&answer)
				took := time.Since(begun)
				if got.Code != http.StatusCreated || answer.Phase != tc.want.Phase || answer.Error != tc.want.Error || !reflect.DeepEqual(answer.Output, tc.want.Output) {
					t.Errorf("%d %s", got.Code, got.Body)
				}
				if want := map[bool]time.Duration{true: 30 * time.Second, false: time.Second}[name == "not yet"]; took != want {
					t.Errorf("it took %s, want %s", took, want)
				}
			})
		})
	}
}

// The outcome shows what other callers wrote. Without the right to read it, a wait is refused before anything is stored.
func TestAWaitNeedsTheRightToRead(t *testing.T) {
	s := admitting(apiserver.Created)
	s.Put(&v1alpha1.JobRun{ObjectMeta: named("a"), Spec: v1alpha1.JobRunSpec{JobName: "sync"}})
	g := newGate(t, s)
	g.denied["get default/jobruns/"] = true // a Role that names single JobRuns
	for _, path := range []string{syncPath, "/v1/namespaces/default/runs/a/retrigger"} {
		status := g.send("POST", path+"?wait=1s", "").wantStatus(403, metav1.StatusReasonForbidden)
		if !strings.Contains(status.Message, "the verb get on jobruns.batch.jobrun.dev") {
			t.Error(status.Message)
		}
	}
	if n := s.Stored(apiserver.JobRuns); n != 1 {
		t.Errorf("%d are stored", n)
	}
	for _, path := range []string{syncPath, syncPath + "?wait=0s"} {
		if got := g.send("POST", path, ""); got.Code != http.StatusCreated {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
}

// A gateway that stops answers what it knows.
func TestWaitEndsWithTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, begun := newGate(t, admitting(apiserver.Created)), time.Now()
		time.AfterFunc(time.Second, g.Drain)
		got := g.send("POST", syncPath+"?wait=30s", "{}")
		if took := time.Since(begun); got.Code != http.StatusCreated || took != time.Second {
			t.Errorf("%d %s after %s", got.Code, got.Body, took)
		}
	})
}

func TestDryRunStoresNothing(t *testing.T) {
	s := admitting(apiserver.Created)
	if got := newGate(t, s).send("POST", syncPath+"?dryRun=All", "{}"); got.Code != http.StatusCreated || s.Stored(apiserver.JobRuns) != 0 {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestRetrigger(t *testing.T) {
	s := admitting(apiserver.Created)
	s.Put(&v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a", Labels: map[string]string{"team": "a", v1alpha1.LabelVeleroRestore: "nightly"}},
		Spec:       v1alpha1.JobRunSpec{JobName: "sync", Input: &apiextensionsv1.JSON{Raw: []byte(`1`)}, IdempotencyKey: "once"},
	})
	g := newGate(t, s)
	got := g.send("POST", "/v1/namespaces/default/runs/a/retrigger", "")
	var answer TriggerAnswer
	got.decode(&answer)
	if got.Code != http.StatusCreated {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	run := s.Read(answer.Trigger)
	_, restored := run.Labels[v1alpha1.LabelVeleroRestore]
	if string(run.Spec.Input.Raw) != `1` || run.Spec.IdempotencyKey != "" || run.Labels["team"] != "a" || restored || run.Annotations[v1alpha1.AnnotationTriggeredBy] != "ann" {
		t.Errorf("stored %+v", run)
	}
	g.send("POST", "/v1/namespaces/default/runs/a/retrigger", `{"input":2}`).wantStatus(400, metav1.StatusReasonBadRequest)
	g.denied["trigger default/jobdefinitions/sync"] = true
	g.send("POST", "/v1/namespaces/default/runs/a/retrigger", "").wantStatus(403, metav1.StatusReasonForbidden)
	if n := s.Stored(apiserver.JobRuns); n != 2 {
		t.Errorf("%d are stored", n)
	}
}

// The body of a trigger has all fields of JobRunSpec but those that are not a caller's.
func TestTriggerRequestHasTheFieldsOfTheSpec(t *testing.T) {
	notTheCallers := []string{"JobName", "Template", "Batch", "Represents", "Cancel", "Admission"}
	full := TriggerRequest{}
	for field := range fieldsOf(reflect.TypeFor[v1alpha1.JobRunSpec]()) {
		own, has := reflect.TypeFor[TriggerRequest]().FieldByName(field.Name)
		if slices.Contains(notTheCallers, field.Name) {
			if has {
				t.Errorf("%s is not a caller's", field.Name)
			}
			continue
		}
		if !has || own.Type != field.Type || own.Tag.Get("json") != field.Tag.Get("json") {
			t.Errorf("%s is missing or differs", field.Name)
			continue
		}
		value := reflect.ValueOf(&full).Elem().FieldByName(field.Name)
		fill(value)
		if sent := full.spec("job"); !reflect.DeepEqual(reflect.ValueOf(sent).FieldByName(field.Name).Interface(), value.Interface()) {
			t.Errorf("%s is not sent", field.Name)
		}
	}
}

// fill sets a value other than zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	}
}
