// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

var spec = v1alpha1.JobRunSpec{JobName: "sync", ConcurrencyKey: "k"}

func TestTriggerReadsTheAnswerOfItsCreate(t *testing.T) {
	s := newServer()
	result, err := s.client().Trigger(t.Context(), spec, WithLabels(map[string]string{"env": "prod"}), WithAnnotations(map[string]string{"by": "me"}))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "disposition", result.Disposition, v1alpha1.DispositionCreated)
	mustEqual(t, "run", result.Run, RunIdentity{Name: result.JobRun.Name, Token: "t-" + result.JobRun.Name})
	mustEqual(t, "name", strings.HasPrefix(result.JobRun.Name, "sync-") && len(result.JobRun.Name) == len("sync-")+10, true)
	mustEqual(t, "label", result.JobRun.Labels["env"], "prod")
	mustEqual(t, "annotation", result.JobRun.Annotations["by"], "me")
	mustEqual(t, "requests", [3]int{s.creates(), s.lists(), s.watches()}, [3]int{1, 0, 0})
}

func TestTriggerOfAReceipt(t *testing.T) {
	s := newServer()
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		run.Spec.Admission = &v1alpha1.Admission{Disposition: v1alpha1.DispositionCoalesced, RunName: "other", RunToken: "o", Token: "t"}
		return store()
	}
	result, err := s.client().Trigger(t.Context(), spec, WithName("mine"))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "disposition", result.Disposition, v1alpha1.DispositionCoalesced)
	mustEqual(t, "run", result.Run, RunIdentity{Name: "other", Token: "o"})
	mustEqual(t, "name", result.JobRun.Name, "mine")
}

func TestNamesAreCut(t *testing.T) {
	long := strings.Repeat("a", 300)
	mustEqual(t, "prefix", len(generateName(long, "sync")), v1alpha1.MaxTemplateRunName)
	mustEqual(t, "job", len(generateName("", long[:63])), v1alpha1.MaxTemplateRunName)
}

func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	with := func(change func(*v1alpha1.JobRunSpec)) v1alpha1.JobRunSpec {
		s := *spec.DeepCopy()
		change(&s)
		return s
	}
	negative := int32(-1)
	template := &batchv1.JobTemplateSpec{}
	for field, tc := range map[string]struct {
		spec v1alpha1.JobRunSpec
		opts []TriggerOption
	}{
		"metadata.name":              {spec, []TriggerOption{WithName("Not_A_Name")}},
		"metadata.labels":            {spec, []TriggerOption{WithLabels(map[string]string{"env": "not valid!"})}},
		"metadata.annotations":       {spec, []TriggerOption{WithAnnotations(map[string]string{"not valid!": ""})}},
		"spec.jobName":               {with(func(s *v1alpha1.JobRunSpec) { s.JobName = "Sync" }), []TriggerOption{WithName("a")}},
		"spec.input":                 {with(func(s *v1alpha1.JobRunSpec) { s.Input = &apiextensionsv1.JSON{Raw: []byte("{")} }), nil},
		"spec.concurrencyKey":        {with(func(s *v1alpha1.JobRunSpec) { s.ConcurrencyKey = strings.Repeat("鍵", 257) }), nil},
		"spec.idempotencyKey":        {with(func(s *v1alpha1.JobRunSpec) { s.IdempotencyKey = "\xff" }), nil},
		"spec.idempotencyTTLSeconds": {with(func(s *v1alpha1.JobRunSpec) { s.IdempotencyTTLSeconds, s.Template = 60, template }), nil},
		"spec.idempotencyRelease":    {with(func(s *v1alpha1.JobRunSpec) { s.IdempotencyRelease, s.Template = "OnFailure", template }), nil},
		"spec.coalesce": {with(func(s *v1alpha1.JobRunSpec) {
			s.ConcurrencyKey, s.Coalesce, s.Template = "", v1alpha1.CoalesceSkip, template
		}), nil},
		"spec.leaseDurationSeconds":    {with(func(s *v1alpha1.JobRunSpec) { s.LeaseDurationSeconds = 86401 }), nil},
		"spec.maxAttempts":             {with(func(s *v1alpha1.JobRunSpec) { s.MaxAttempts = -1 }), nil},
		"spec.ttlSecondsAfterFinished": {with(func(s *v1alpha1.JobRunSpec) { s.TTLSecondsAfterFinished = &negative }), nil},
	} {
		t.Run(field, func(t *testing.T) {
			s := newServer()
			_, err := s.client().Trigger(t.Context(), tc.spec, tc.opts...)
			var invalid *ValidationError
			if !errors.As(err, &invalid) || !errors.Is(err, ErrInvalid) || !apierrors.IsInvalid(err) {
				t.Fatalf("got %v, want a validation error", err)
			}
			mustEqual(t, "field", invalid.Fields[0].Field, field)
			mustEqual(t, "requests", s.creates(), 0)
		})
	}
	t.Run("metadata.namespace", func(t *testing.T) {
		_, err := newServer().client().Namespace("").Trigger(t.Context(), spec)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "metadata.namespace") {
			t.Errorf("got %v", err)
		}
	})
}

func TestLongestValuesAreSent(t *testing.T) {
	s := *spec.DeepCopy()
	s.ConcurrencyKey = strings.Repeat("鍵", 256)
	s.Input = &apiextensionsv1.JSON{Raw: []byte(`"` + strings.Repeat("a", v1alpha1.MaxInputBytes-2) + `"`)}
	if _, err := newServer().client().Trigger(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestConflictNamesThePendingRun(t *testing.T) {
	s := newServer()
	s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return conflict("waiting") }
	_, err := s.client().Trigger(t.Context(), spec)
	var conflict *ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, ErrConflict) || !apierrors.IsConflict(err) {
		t.Fatalf("got %v", err)
	}
	mustEqual(t, "pending run", conflict.PendingRun, "waiting")
	mustEqual(t, "creates", s.creates(), 1)
}

func conflict(pending string) error {
	err := apierrors.NewConflict(resource, "a", errors.New("run "+pending+" is pending"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: v1alpha1.CausePendingRun, Field: "spec.concurrencyKey", Message: pending}}
	return err
}

// reservedFor returns the refusal of a trigger whose key is reserved.
func reservedFor(run string, causes ...metav1.StatusCause) error {
	err := apierrors.NewConflict(resource, "a", errors.New("the key is reserved for run "+run))
	err.ErrStatus.Details.Causes = append([]metav1.StatusCause{{Type: v1alpha1.CauseReservedRun, Message: run}}, causes...)
	return err
}

// While a key is reserved for a run that does not exist, Trigger tries again for less than a second.
func TestReservedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.OnCreate = func(*v1alpha1.JobRun, func() error) error {
			return reservedFor("missing", metav1.StatusCause{Type: v1alpha1.CauseReservedAt, Message: "2026-01-02T03:04:05Z"},
				metav1.StatusCause{Type: v1alpha1.CauseFreeBy, Message: "2026-01-02T03:04:13Z"})
		}
		began := time.Now()
		_, err := s.client().Trigger(t.Context(), spec)
		var reserved *ReservedError
		if !errors.As(err, &reserved) || !errors.Is(err, ErrReserved) || errors.Is(err, ErrConflict) || !apierrors.IsConflict(err) {
			t.Fatalf("got %v", err)
		}
		mustEqual(t, "run", reserved.Run, "missing")
		mustEqual(t, "reserved at", reserved.ReservedAt, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
		mustEqual(t, "free by", reserved.FreeBy, time.Date(2026, 1, 2, 3, 4, 13, 0, time.UTC))
		mustEqual(t, "creates", s.creates(), 5)
		if took := time.Since(began); took < 750*time.Millisecond || took >= time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// The times of a reservation may be missing or unreadable.
func TestReservedKeyWithoutTimes(t *testing.T) {
	for _, causes := range [][]metav1.StatusCause{nil, {{Type: v1alpha1.CauseReservedAt, Message: "soon"}}} {
		var reserved *ReservedError
		if err := Classify(reservedFor("missing", causes...)); !errors.As(err, &reserved) || err != Classify(err) { //nolint:errorlint // identity
			t.Fatalf("got %v", err)
		}
		mustEqual(t, "times", [2]bool{reserved.ReservedAt.IsZero(), reserved.FreeBy.IsZero()}, [2]bool{true, true})
	}
}

// A create that is under way ends the reservation: the next attempt meets the run, or takes the key.
func TestReservationsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []error{nil, conflict("waiting")} {
			s := newServer()
			s.OnCreate = func(_ *v1alpha1.JobRun, store func() error) error {
				switch {
				case s.creates() < 3:
					return reservedFor("waiting")
				case end != nil:
					return end
				}
				return store()
			}
			result, err := s.client().Trigger(t.Context(), spec, WithName("a"))
			if end != nil {
				mustEqual(t, "conflict", errors.Is(err, ErrConflict), true)
			} else if err != nil || result.Disposition != v1alpha1.DispositionCreated || result.JobRun.Name != "a" {
				t.Errorf("got %+v, %v", result, err)
			}
			mustEqual(t, "creates", s.creates(), 3)
		}
	})
}

// If the answer to an attempt was lost, that attempt may be stored later. So the trigger is not known to be refused.
func TestReservedKeyAfterALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.OnCreate = func(*v1alpha1.JobRun, func() error) error {
			if s.creates() == 1 {
				return &url.Error{Op: "Post", Err: errors.New("EOF")}
			}
			return reservedFor("missing")
		}
		_, err := s.client().Trigger(t.Context(), spec)
		mustEqual(t, "unanswered", errors.Is(err, ErrUnanswered), true)
		mustEqual(t, "creates", s.creates(), 2)
	})
}

// When ctx ends, Trigger does not try again.
func TestReservedKeyUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return reservedFor("missing") }
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.client().Trigger(ctx, spec)
		mustEqual(t, "reserved", errors.Is(err, ErrReserved), true)
		mustEqual(t, "creates", s.creates(), 2)
	})
}

func TestNameOfSomebodyElse(t *testing.T) {
	s := newServer()
	s.Put(makeRun("taken", v1alpha1.JobRunStatus{}))
	_, err := s.client().Trigger(t.Context(), spec, WithName("taken"))
	mustEqual(t, "already exists", apierrors.IsAlreadyExists(err), true)
	mustEqual(t, "unanswered", errors.Is(err, ErrUnanswered), false)
	mustEqual(t, "creates", s.creates(), 1)
}

// This trigger itself may have taken the name, because the client library repeats requests. If the name cannot be read,
// the trigger is unanswered.
func TestNameOfNobodyKnowsWhom(t *testing.T) {
	s := newServer()
	s.OnCreate = func(run *v1alpha1.JobRun, _ func() error) error {
		s.SetDown(apiserver.Refused())
		return apierrors.NewAlreadyExists(resource, run.Name)
	}
	_, err := s.client().Trigger(t.Context(), spec, WithName("taken"))
	mustEqual(t, "unanswered", errors.Is(err, ErrUnanswered) && apierrors.IsAlreadyExists(err), true)
}

var (
	errWebhookDown = apierrors.NewInternalError(errors.New(
		`failed calling webhook "mjobrun.batch.jobrun.dev": failed to call webhook: Post "https://x/y": context deadline exceeded`))
	errDenied = &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusGatewayTimeout, Reason: metav1.StatusReasonTimeout,
		Message: `admission webhook "mjobrun.batch.jobrun.dev" denied the request: Timeout: the key could not be reserved in time`,
	}}
)

func TestClassifyWebhookDown(t *testing.T) {
	var down *WebhookDownError
	if err := Classify(errWebhookDown); !errors.As(err, &down) || !apierrors.IsInternalError(err) {
		t.Fatalf("got %v", err)
	}
	mustEqual(t, "webhook", down.Webhook, "mjobrun.batch.jobrun.dev")
	for _, other := range []error{errDenied, apierrors.NewInternalError(errors.New("etcdserver: request timed out"))} {
		mustEqual(t, other.Error(), errors.Is(Classify(other), ErrWebhookDown), false)
	}
}

// A lost answer is looked up under the same name, and causes no second run.
func TestLostAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []func(store func() error) error
		want    error
		stored  int
	}{
		"it was stored": {
			answers: []func(func() error) error{lost(true), accepted},
			stored:  1,
		},
		"it was not": {
			answers: []func(func() error) error{lost(false), accepted},
			stored:  1,
		},
		"it was stored, and the server restarts": {
			answers: []func(func() error) error{lost(true), failing(apiserver.Refused()), failing(apierrors.NewServiceUnavailable("starting"))},
			stored:  1,
		},
		"it was stored, and a stale cache answers for another run": {
			answers: []func(func() error) error{lost(true), failing(conflict("other"))},
			stored:  1,
		},
		"it was not stored so far, and is refused now": {
			answers: []func(func() error) error{lost(false), failing(conflict("other"))},
			want:    ErrUnanswered,
		},
		"the server failed after it was stored": {
			answers: []func(func() error) error{func(store func() error) error {
				_ = store()
				return apierrors.NewInternalError(errors.New("etcdserver: request timed out"))
			}},
			stored: 1,
		},
		"a webhook is down": {
			answers: []func(func() error) error{failing(errWebhookDown)},
			want:    ErrWebhookDown,
		},
		"a webhook is down when it is sent again": {
			answers: []func(func() error) error{lost(false), failing(errWebhookDown), accepted},
			stored:  1,
		},
		"a webhook answers that it failed": {
			answers: []func(func() error) error{failing(errDenied)},
			want:    errDenied,
		},
		"the server failed": {
			answers: []func(func() error) error{failing(apierrors.NewInternalError(errors.New("boom")))},
			want:    ErrUnanswered,
		},
		"it was stored, and the answer broke off": {
			answers: []func(func() error) error{brokenOff, accepted},
			stored:  1,
		},
		"it was stored, and the answer is none that is known": {
			answers: []func(func() error) error{func(store func() error) error { _ = store(); return errors.New("hm") }},
			want:    ErrUnanswered,
			stored:  1,
		},
		"it was stored, and another server answers then": {
			answers: []func(func() error) error{lost(true), failing(impostor())},
			want:    ErrUnanswered,
			stored:  1,
		},
		"another server answers": {
			answers: []func(func() error) error{failing(impostor())},
			want:    wrongCertificate,
		},
		"the kind is unknown": {
			answers: []func(func() error) error{failing(errNoKind)},
			want:    errNoKind,
		},
		"it could not be sent": {
			answers: []func(func() error) error{failing(apiserver.Refused())},
			want:    syscallRefused,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, i := newServer(), 0
				s.OnCreate = func(_ *v1alpha1.JobRun, store func() error) error {
					i++
					return tc.answers[i-1](store)
				}
				result, err := s.client().Trigger(t.Context(), spec)
				if !errors.Is(err, tc.want) {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
				mustEqual(t, "unanswered", errors.Is(err, ErrUnanswered), tc.want == ErrUnanswered) //nolint:errorlint // the sentinel itself
				mustEqual(t, "attempts", i, len(tc.answers))
				mustEqual(t, "stored", s.Stored(apiserver.JobRuns), tc.stored)
				if err == nil {
					mustEqual(t, "uid", result.JobRun.UID, "uid-1")
					mustEqual(t, "disposition", result.Disposition, v1alpha1.DispositionCreated)
				}
			})
		})
	}
}

// brokenOff stores the object and returns client-go's error for an answer whose body broke off.
func brokenOff(store func() error) error {
	_ = store()
	return fmt.Errorf("unexpected error when reading response body. Please retry. Original error: %w", errors.New("http2: server sent GOAWAY"))
}

var wrongCertificate = &tls.CertificateVerificationError{Err: errors.New("unknown authority")}

func impostor() error { return &url.Error{Op: "Post", URL: "https://api", Err: wrongCertificate} }

var errNoKind = &meta.NoKindMatchError{GroupKind: v1alpha1.GroupVersion.WithKind("JobRun").GroupKind()}

var syscallRefused = errors.Unwrap(errors.Unwrap(apiserver.Refused()))

func accepted(store func() error) error { return store() }

func lost(stored bool) func(func() error) error {
	return func(store func() error) error {
		if stored {
			_ = store()
		}
		return apiserver.Reset()
	}
}

func failing(err error) func(func() error) error {
	return func(func() error) error { return err }
}

func TestLostAnswerIsNotLookedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, begun := newServer(), time.Now()
		s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return apiserver.Reset() }
		_, err := s.client().Trigger(t.Context(), spec, WithName("a"))
		var unanswered *UnansweredError
		if !errors.As(err, &unanswered) || unanswered.Name != "a" {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(begun); took < 15*time.Second || took > time.Minute {
			t.Errorf("it took %s", took)
		}
		if s.creates() > 12 {
			t.Errorf("%d attempts", s.creates())
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.client().Trigger(ctx, spec)
		mustEqual(t, "unanswered at the deadline", errors.Is(err, ErrUnanswered) && errors.Is(err, context.DeadlineExceeded), true)
		_, err = s.client().Trigger(ctx, spec)
		mustEqual(t, "known after the deadline", errors.Is(err, ErrUnanswered), false)
	})
}

func TestPatienceBoundsTheSearchForALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, begun := newServer(), time.Now()
		s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return apiserver.Reset() }
		_, err := s.client().Trigger(t.Context(), spec, WithPatience(5*time.Second))
		mustEqual(t, "unanswered", errors.Is(err, ErrUnanswered), true)
		mustEqual(t, "the caller's deadline", errors.Is(err, context.DeadlineExceeded), false)
		mustEqual(t, "seconds", time.Since(begun), 5*time.Second)
	})
}

// RetriggerFor does not look at a later JobRun of that name.
func TestRetriggerForTheJobRunThatWasRead(t *testing.T) {
	s := newServer()
	read := makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseFailed})
	read.Spec.JobName = "sync"
	later := makeRun("a", v1alpha1.JobRunStatus{})
	later.Spec.JobName = "other"
	s.Put(later)
	result, err := s.client().RetriggerFor(t.Context(), read)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "job", result.JobRun.Spec.JobName, "sync")
}

func TestNoAnswerIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, begun := newServer(), time.Now()
		s.OnCreate = func(*v1alpha1.JobRun, func() error) error {
			time.Sleep(45 * time.Second) // The connection hangs, and is then given up.
			return apiserver.Reset()
		}
		_, err := s.client().Trigger(t.Context(), spec)
		mustEqual(t, "unanswered", errors.Is(err, ErrUnanswered), true)
		mustEqual(t, "the caller's deadline", errors.Is(err, context.DeadlineExceeded), false)
		if took := time.Since(begun); took > 2*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

func TestDryRun(t *testing.T) {
	s := newServer()
	result, err := s.client().Trigger(t.Context(), spec, DryRun())
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "disposition", result.Disposition, v1alpha1.DispositionCreated)
	mustEqual(t, "stored", s.Stored(apiserver.JobRuns), 0)
	if _, err := s.client().TriggerAndWait(t.Context(), spec, DryRun()); err == nil {
		t.Error("a dry run was waited for")
	}
}

func TestRetrigger(t *testing.T) {
	s := newServer()
	original := makeRun("a", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseFailed})
	original.Labels = map[string]string{"env": "prod", v1alpha1.LabelJobName: "sync", v1alpha1.LabelKey: "c-x", v1alpha1.LabelDisposition: "created"}
	original.Labels["velero.io/restore-name"], original.Labels["velero.io/backup-name"] = "after-the-fire", "nightly"
	original.Labels["velero.io/exclude-from-backup"] = "true"
	cancel := true
	original.Spec.IdempotencyTTLSeconds, original.Spec.IdempotencyRelease = 60, v1alpha1.IdempotencyReleaseOnFailure
	original.Spec.IdempotencyKey, original.Spec.Cancel, original.Spec.Coalesce = "once", &cancel, v1alpha1.CoalesceSkip
	original.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(`{"org":"acme"}`)}
	original.Spec.LeaseDurationSeconds, original.Spec.MaxAttempts = 7, 5
	original.Spec.Template = &batchv1.JobTemplateSpec{}
	s.Put(original)

	result, err := s.client().Retrigger(t.Context(), "a", WithLabels(map[string]string{"again": "1"}))
	if err != nil {
		t.Fatal(err)
	}
	got := result.JobRun
	mustEqual(t, "own admission", got.Spec.Admission.Token, "t-"+got.Name)
	mustEqual(t, "kept", got.Spec.IdempotencyKey == "" && got.Spec.IdempotencyTTLSeconds == 0 && got.Spec.IdempotencyRelease == "" && got.Spec.Cancel == nil && got.Spec.Coalesce == "", true)
	mustEqual(t, "input", string(got.Spec.Input.Raw), `{"org":"acme"}`)
	mustEqual(t, "amounts", got.Spec.LeaseDurationSeconds*10+got.Spec.MaxAttempts, 75)
	mustEqual(t, "template", got.Spec.Template != nil, true)
	want := map[string]string{"env": "prod", "again": "1", "velero.io/exclude-from-backup": "true"}
	if diff := cmp.Diff(want, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}

	s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return conflict("b") }
	_, err = s.client().Retrigger(t.Context(), "a")
	mustEqual(t, "conflict", errors.Is(err, ErrConflict), true)
	_, err = s.client().Retrigger(t.Context(), "missing")
	mustEqual(t, "not found", errors.Is(err, ErrNotFound) && apierrors.IsNotFound(err), true)
}
