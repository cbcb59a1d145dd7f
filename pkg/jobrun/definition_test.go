// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

type syncInput struct {
	Org  string `json:"org"`
	Full bool   `json:"full,omitempty"`
}

func TestInputsOfADefinedJob(t *testing.T) {
	for name, tc := range map[string]struct {
		input any
		want  string
	}{
		"none":                 {nil, ""},
		"null":                 {json.RawMessage("null"), ""},
		"a nil pointer":        {(*syncInput)(nil), ""},
		"a struct":             {syncInput{Org: "acme"}, `{"org":"acme"}`},
		"a map":                {map[string]any{"org": "acme", "full": true}, `{"full":true,"org":"acme"}`},
		"JSON":                 {json.RawMessage(`{"big": 12345678901234567890}`), `{"big":12345678901234567890}`},
		"no input of a JobRun": {makeRun("a", v1alpha1.JobRunStatus{}).Spec.Input, ""},
		"a text":               {"acme", `"acme"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			result, err := s.client().TriggerDefined(t.Context(), "sync-users", tc.input)
			if err != nil {
				t.Fatal(err)
			}
			want := v1alpha1.JobRunSpec{JobName: "sync-users", Admission: result.JobRun.Spec.Admission}
			mustEqual(t, "input", result.JobRun.InputText(), tc.want)
			want.Input = result.JobRun.Spec.Input
			if diff := cmp.Diff(want, result.JobRun.Spec); diff != "" {
				t.Errorf("the trigger says more than its name and its input:\n%s", diff)
			}
		})
	}
}

func TestInputThatCannotBeEncoded(t *testing.T) {
	s := newServer()
	_, err := s.client().TriggerDefined(t.Context(), "sync-users", func() {})
	var invalid *ValidationError
	if !errors.As(err, &invalid) || !invalid.Unsent || invalid.Fields[0].Field != "spec.input" {
		t.Errorf("got %v", err)
	}
	mustEqual(t, "creates", s.creates(), 0)
}

// What a definition gives is not known to the client, so the client must not miss it.
func TestDefinitionMayGiveTheKeys(t *testing.T) {
	spec := v1alpha1.JobRunSpec{
		JobName: "sync-users", Coalesce: v1alpha1.CoalesceSkip, IdempotencyTTLSeconds: 60, IdempotencyRelease: v1alpha1.IdempotencyReleaseOnFailure,
	}
	if _, err := newServer().client().Trigger(t.Context(), spec); err != nil {
		t.Error(err)
	}
}

func TestIdempotencyKeyOfADefinedJob(t *testing.T) {
	result, err := newServer().client().TriggerDefined(t.Context(), "sync-users", nil, WithIdempotencyKey("delivery-7"))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "key", result.JobRun.Spec.IdempotencyKey, "delivery-7")
}

// Each place of the input that does not fit is named.
func TestInputThatDoesNotFit(t *testing.T) {
	s := newServer()
	s.OnCreate = func(run *v1alpha1.JobRun, _ func() error) error {
		input := field.NewPath("spec", "input")
		return apierrors.NewInvalid(kind, run.Name, field.ErrorList{
			field.Required(input.Child("org"), ""), field.TypeInvalid(input.Child("full"), "yes", "must be of type boolean"),
		})
	}
	_, err := s.client().TriggerDefined(t.Context(), "sync-users", map[string]any{"full": "yes"})
	var invalid *ValidationError
	if !errors.As(err, &invalid) || invalid.Unsent || len(invalid.Fields) != 2 {
		t.Fatalf("got %v", err)
	}
	mustEqual(t, "first field", invalid.Fields[0].Field, "spec.input.org")
	mustEqual(t, "second field", invalid.Fields[1].Field, "spec.input.full")
}

func TestMissingRight(t *testing.T) {
	lacks := func(right string) error {
		return errors.New(right + `, which user "ann" does not have in namespace "default"; this rule of a Role grants it: {verbs: [get]}`)
	}
	mayNot := func(verb, resource string) error {
		return errors.New(`User "ann" cannot ` + verb + ` resource "` + resource + `" in API group "batch.jobrun.dev" in the namespace "default"`)
	}
	for name, tc := range map[string]struct {
		answer error
		want   *ForbiddenError
	}{
		"trigger": {
			apierrors.NewForbidden(resource, "a", lacks(`a JobRun without spec.template needs the verb trigger on jobdefinitions.batch.jobrun.dev "sync-users"`)),
			&ForbiddenError{Verb: "trigger", Group: "batch.jobrun.dev", Resource: "jobdefinitions", Name: "sync-users"},
		},
		"create": {
			apierrors.NewForbidden(resource, "", mayNot("create", "jobruns")),
			&ForbiddenError{Verb: "create", Group: "batch.jobrun.dev", Resource: "jobruns"},
		},
		"template": {
			apierrors.NewForbidden(resource, "a", lacks("a JobRun with spec.template needs the verb create on jobs.batch")),
			&ForbiddenError{Verb: "create", Group: "batch", Resource: "jobs"},
		},
		"get": {
			apierrors.NewForbidden(resource, "a", mayNot("get", "jobruns")),
			&ForbiddenError{Verb: "get", Group: "batch.jobrun.dev", Resource: "jobruns", Name: "a"},
		},
		"about another object": {
			apierrors.NewForbidden(resource, "a", mayNot("get", "jobdefinitions")),
			&ForbiddenError{Verb: "get", Group: "batch.jobrun.dev", Resource: "jobdefinitions"},
		},
		"quota": {apierrors.NewForbidden(resource, "a", errors.New("exceeded quota: runs")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return tc.answer }
			_, err := s.client().TriggerDefined(t.Context(), "sync-users", nil)
			var got *ForbiddenError
			mustEqual(t, "forbidden", errors.As(err, &got), tc.want != nil)
			mustEqual(t, "kind of error", errors.Is(err, ErrForbidden), tc.want != nil)
			mustEqual(t, "the API server's answer", apierrors.IsForbidden(err), true)
			if tc.want != nil {
				tc.want.answer = got.answer
				mustEqual(t, "right", *got, *tc.want)
				mustEqual(t, "text", got.Error(), tc.answer.Error())
			}
		})
	}
}

func definition(namespace, name string, change func(*v1alpha1.JobDefinitionSpec)) *v1alpha1.JobDefinition {
	d := &v1alpha1.JobDefinition{}
	d.Namespace, d.Name = namespace, name
	if change != nil {
		change(&d.Spec)
	}
	return d
}

// storeOf returns a client of an API server that serves definitions, too. Each JobRun is triggered by a definition.
func storeOf(objects ...client.Object) *Client {
	store := wrappers.NewStore(nil, objects...)
	store.Before = func(verb string, o client.Object) error {
		if run, ok := o.(*v1alpha1.JobRun); ok && verb == "create" {
			run.Spec.Admission = &v1alpha1.Admission{Disposition: v1alpha1.DispositionCreated, RunName: run.Name}
		}
		return nil
	}
	return New(store, "default")
}

func TestDefinitions(t *testing.T) {
	c := storeOf(definition("default", "b", nil), definition("default", "a", nil), definition("elsewhere", "c", nil))
	names := func(of *Client) (names []string) {
		all, err := of.Definitions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			names = append(names, d.Namespace+"/"+d.Name)
		}
		return names
	}
	if diff := cmp.Diff([]string{"default/a", "default/b"}, names(c)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"default/a", "default/b", "elsewhere/c"}, names(c.Namespace(""))); diff != "" {
		t.Error(diff)
	}
	got, err := c.Definition(t.Context(), "b")
	if err != nil || got.Name != "b" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = c.Definition(t.Context(), "c")
	var missing *NotFoundError
	mustEqual(t, "not found", errors.As(err, &missing) && missing.Name == "c" && apierrors.IsNotFound(err), true)
	for _, wrong := range []string{"", "Not_A_Name", "a/b", strings.Repeat("a", 64)} {
		if _, err := c.Definition(t.Context(), wrong); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "JobDefinition.batch.jobrun.dev") {
			t.Errorf("%q: got %v", wrong, err)
		}
	}
	if _, err := c.Namespace("").Definition(t.Context(), "a"); !errors.Is(err, ErrInvalid) {
		t.Errorf("without a namespace: got %v", err)
	}
}

// definedRun returns a run that a definition has completed.
func definedRun() *v1alpha1.JobRun {
	run := makeRun("first", v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseFailed})
	run.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: "sync", UID: "d", Generation: 1}
	spec, err := Defined("sync", syncInput{Org: "acme"})
	if err != nil {
		panic(err)
	}
	run.Spec.Input = spec.Input
	run.Spec.Coalesce, run.Spec.IdempotencyKey, run.Spec.MaxAttempts, run.Spec.ActiveDeadlineSeconds = v1alpha1.CoalesceSkip, "once", 7, 60
	run.Spec.LeaseDurationSeconds, run.Spec.OnLeaseExpired, run.Spec.OnJobLost = 9, v1alpha1.OnLeaseExpiredRequeue, v1alpha1.OnJobLostFail
	run.Spec.TTLSecondsAfterFinished = new(int32(5))
	return run
}

func TestRetriggerOfADefinedJob(t *testing.T) {
	all := []v1alpha1.OverridableField{
		"concurrencyKey", "coalesce", "idempotencyTTLSeconds", "idempotencyRelease", "leaseDurationSeconds", "activeDeadlineSeconds",
		"maxAttempts", "onLeaseExpired", "onJobLost", "ttlSecondsAfterFinished",
	}
	for name, tc := range map[string]struct {
		definition *v1alpha1.JobDefinition
		want       func(first v1alpha1.JobRunSpec) v1alpha1.JobRunSpec
	}{
		"as it is defined now": {
			definition("default", "sync", nil),
			func(first v1alpha1.JobRunSpec) v1alpha1.JobRunSpec {
				return v1alpha1.JobRunSpec{JobName: "sync", Input: first.Input}
			},
		},
		"what the trigger may set is kept": {
			definition("default", "sync", func(d *v1alpha1.JobDefinitionSpec) { d.Overridable = all }),
			again,
		},
		"the definition is gone": {nil, again},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{definedRun()}
			if tc.definition != nil {
				objects = append(objects, tc.definition)
			}
			result, err := storeOf(objects...).Retrigger(t.Context(), "first")
			if err != nil {
				t.Fatal(err)
			}
			got := result.JobRun.Spec
			got.Admission = nil
			if diff := cmp.Diff(tc.want(definedRun().Spec), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// With the key of the expression, the retrigger would be a second delivery, and execute nothing.
func TestRetriggerBringsItsOwnIdempotencyKey(t *testing.T) {
	c := storeOf(definedRun(), definition("default", "sync", func(d *v1alpha1.JobDefinitionSpec) { d.IdempotencyKeyExpression = "input.org" }))
	keys := map[string]bool{}
	for range 2 {
		result, err := c.Retrigger(t.Context(), "first")
		if err != nil {
			t.Fatal(err)
		}
		keys[result.JobRun.Spec.IdempotencyKey] = true
	}
	mustEqual(t, "keys", len(keys) == 2 && !keys[""] && !keys["once"], true)
}
