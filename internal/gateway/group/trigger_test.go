// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

func jsonOf(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

// sharing returns a trigger that may share a JobRun.
func sharing(change ...func(*Trigger)) Trigger {
	t := Trigger{
		Namespace: "team-a", User: "ann", Labels: map[string]string{"team": "a"},
		Spec: v1alpha1.JobRunSpec{JobName: "sync", ConcurrencyKey: "k", Coalesce: v1alpha1.CoalesceSkip, Input: jsonOf("1")},
	}
	for _, change := range change {
		change(&t)
	}
	return t
}

func TestWhichTriggersShare(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Trigger)
		want   string
	}{
		"another input":        {func(t *Trigger) { t.Spec.Input = jsonOf("2") }, "the same"},
		"no input":             {func(t *Trigger) { t.Spec.Input = nil }, "the same"},
		"another time":         {func(t *Trigger) { t.Time = time.Unix(1, 0) }, "the same"},
		"another namespace":    {func(t *Trigger) { t.Namespace = "team-b" }, "another"},
		"another user":         {func(t *Trigger) { t.User = "bob" }, "another"},
		"another label":        {func(t *Trigger) { t.Labels = map[string]string{"team": "b"} }, "another"},
		"no label":             {func(t *Trigger) { t.Labels = nil }, "another"},
		"another job":          {func(t *Trigger) { t.Spec.JobName = "other" }, "another"},
		"another key":          {func(t *Trigger) { t.Spec.ConcurrencyKey = "other" }, "another"},
		"another lease":        {func(t *Trigger) { t.Spec.LeaseDurationSeconds = 5 }, "another"},
		"another deadline":     {func(t *Trigger) { t.Spec.ActiveDeadlineSeconds = 5 }, "another"},
		"other attempts":       {func(t *Trigger) { t.Spec.MaxAttempts = 5 }, "another"},
		"another end of lease": {func(t *Trigger) { t.Spec.OnLeaseExpired = v1alpha1.OnLeaseExpiredFail }, "another"},
		"another end of Job":   {func(t *Trigger) { t.Spec.OnJobLost = v1alpha1.OnJobLostFail }, "another"},
		"another TTL":          {func(t *Trigger) { t.Spec.TTLSecondsAfterFinished = ptr.To[int32](5) }, "another"},
		"no key":               {func(t *Trigger) { t.Spec.ConcurrencyKey = "" }, "none"},
		"no coalesce":          {func(t *Trigger) { t.Spec.Coalesce = "" }, "none"},
		"an idempotencyKey":    {func(t *Trigger) { t.Spec.IdempotencyKey = "once" }, "none"},
		"a template":           {func(t *Trigger) { t.Spec.Template = &batchv1.JobTemplateSpec{} }, "none"},
		"a batch":              {func(t *Trigger) { t.Spec.Batch = &v1alpha1.BatchMember{} }, "none"},
		"a group":              {func(t *Trigger) { t.Spec.Represents = &v1alpha1.Represents{} }, "none"},
		"a long input":         {func(t *Trigger) { t.Spec.Input = jsonOf(`"` + strings.Repeat("x", v1alpha1.MaxInputBytes) + `"`) }, "none"},
		"a deep input": {func(t *Trigger) {
			t.Spec.Input = jsonOf(strings.Repeat("[", v1alpha1.MaxLevels+1) + strings.Repeat("]", v1alpha1.MaxLevels+1))
		}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := sharing(), sharing(tc.change)
			one, ok := first.key()
			if !ok {
				t.Fatal("the first one shares with none")
			}
			other, shares := second.key()
			got := "none"
			if shares {
				got = map[bool]string{true: "the same", false: "another"}[one == other]
			}
			if got != tc.want {
				t.Errorf("it shares with %s, want %s", got, tc.want)
			}
		})
	}
}

// A change of one field of the spec changes the key, whichever field it is, but for the input, or the trigger shares with none.
func TestKeyHasEveryField(t *testing.T) {
	base := sharing()
	want, _ := base.key()
	spec := reflect.TypeFor[v1alpha1.JobRunSpec]()
	for i := range spec.NumField() {
		changed := sharing()
		field := reflect.ValueOf(&changed.Spec).Elem().Field(i)
		switch field.Kind() {
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		case reflect.String:
			field.SetString("other")
		default:
			field.SetInt(5)
		}
		key, shares := changed.key()
		if same := shares && key == want; same != (spec.Field(i).Name == "Input") {
			t.Errorf("%s: the same key: %t", spec.Field(i).Name, same)
		}
	}
}

// The values of labels and of ttlSecondsAfterFinished count, not where they are in memory.
func TestKeyOfEqualValues(t *testing.T) {
	with := func() Trigger {
		return sharing(func(t *Trigger) {
			t.Labels = map[string]string{"a": "1", "b": "2", "c": "3"}
			t.Spec.TTLSecondsAfterFinished = ptr.To[int32](0)
		})
	}
	one, other := with(), with()
	first, _ := one.key()
	second, _ := other.key()
	if first != second {
		t.Errorf("%+v and %+v", first, second)
	}
	other.Spec.TTLSecondsAfterFinished = nil
	if second, _ = other.key(); first == second {
		t.Error("no ttlSecondsAfterFinished is like 0")
	}
}

// inputs returns triggers of these inputs, one second apart.
func inputs(texts ...string) []*Trigger {
	var all []*Trigger
	for i, text := range texts {
		all = append(all, ptr.To(sharing(func(t *Trigger) { t.Spec.Input, t.Time = jsonOf(text), time.Unix(int64(i), 0) })))
	}
	return all
}

func TestRepresent(t *testing.T) {
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprint(i))
	}
	long, half := `"`+strings.Repeat("x", 32<<10)+`"`, `"`+strings.Repeat("x", 16<<10)+`"`
	nearly := `"` + strings.Repeat("x", 16<<10-100) + `"` // It fits beside half, but not with its time and user.
	for name, tc := range map[string]struct {
		all []*Trigger
		// want are the beginnings of the inputs of recent.
		want []string
	}{
		"one":                   {inputs("1"), nil},
		"the first is the run":  {inputs("1", "2", "3"), []string{"2", "3"}},
		"the latest 32":         {inputs(many...), many[8:]},
		"one that is too long":  {inputs("1", "2", long, "3"), []string{"2", "3"}},
		"one that nearly fits":  {inputs("1", nearly, half), []string{half}},
		"two that are too long": {inputs("1", half, "2", half, "3"), []string{"2", half, "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := represent(tc.all)
			if int(r.Count) != len(tc.all) {
				t.Errorf("count %d of %d", r.Count, len(tc.all))
			}
			var got []string
			for _, entry := range r.Recent {
				got = append(got, string(entry.Input.Raw))
				if entry.User != "ann" {
					t.Errorf("user %q", entry.User)
				}
			}
			if strings.Join(got, " ") != strings.Join(tc.want, " ") {
				t.Errorf("%.200q, want %.200q", got, tc.want)
			}
			if text, err := json.Marshal(r.Recent); err != nil || len(text) > v1alpha1.MaxRepresentedRecentBytes {
				t.Errorf("%d bytes, %v", len(text), err)
			}
		})
	}
}

// What the API refuses in an entry does not refuse the group.
func TestRepresentALongName(t *testing.T) {
	all := inputs("1", "2")
	all[1].User = strings.Repeat("x", v1alpha1.MaxTriggeredByBytes-1) + "é"
	if got := represent(all).Recent[0].User; got != strings.Repeat("x", v1alpha1.MaxTriggeredByBytes-1) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestPause(t *testing.T) {
	for _, tc := range []struct {
		waiting, before int
		since, want     time.Duration
	}{
		{1, 1, 0, 0},
		{crowd - 1, crowd - 1, 0, 0},
		{crowd, 1, 0, interval},
		{1, crowd, 5 * time.Millisecond, interval - 5*time.Millisecond},
		{10 * crowd, crowd, interval, 0},
		{10 * crowd, crowd, time.Minute, 0},
	} {
		if got := pauseOf(tc.waiting, tc.before, tc.since); got != tc.want {
			t.Errorf("%d wait after %d, %s ago: %s, want %s", tc.waiting, tc.before, tc.since, got, tc.want)
		}
	}
}

// conflict is the answer that a run waits for the key.
func conflict() error {
	err := apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "b", errors.New("run a is pending"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: v1alpha1.CausePendingRun, Message: "a"}}
	return jobrun.Classify(err)
}

// reserved is the answer that the key is reserved.
func reserved() error {
	err := apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "b", errors.New("reserved"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: v1alpha1.CauseReservedRun, Message: "a"}}
	return jobrun.Classify(err)
}

// olderReplica is the answer of a webhook that waits for the end of an upgrade.
func olderReplica() error {
	err := apierrors.NewServiceUnavailable("a replica is older")
	err.ErrStatus.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: v1alpha1.CauseOlderReplica, Field: "spec.represents"}}}
	return jobrun.Classify(err)
}

func TestIsShared(t *testing.T) {
	represents := func(count int32) Answer {
		run := &v1alpha1.JobRun{}
		if count > 0 {
			run.Spec.Represents = &v1alpha1.Represents{Count: count}
		}
		return Answer{TriggerResult: jobrun.TriggerResult{JobRun: run}}
	}
	for name, tc := range map[string]struct {
		answer   Answer
		err      error
		triggers int
		want     bool
	}{
		"one":                      {represents(0), nil, 1, true},
		"several":                  {represents(3), nil, 3, true},
		"stored without the field": {represents(0), nil, 3, false},
		"stored with less":         {represents(2), nil, 3, false},
		"a conflict":               {Answer{}, conflict(), 3, true},
		"a reserved key":           {Answer{}, reserved(), 3, true},
		"a lost answer":            {Answer{}, &jobrun.UnansweredError{Name: "a"}, 3, true},
		"a taken name":             {Answer{}, apierrors.NewAlreadyExists(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "a"), 3, false},
		"a withdrawn swap":         {Answer{}, apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "a", nil), 3, false},
		"an older replica":         {Answer{}, olderReplica(), 3, false},
		"no API server":            {Answer{}, errors.New("connection refused"), 3, false},
	} {
		if got := isShared(tc.answer, tc.err, tc.triggers); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// compiled returns a definition: org is required, full is false if it is not there, the key is that of the org.
func compiled(t *testing.T, change ...func(*v1alpha1.JobDefinition)) *definition.Definition {
	t.Helper()
	defined := &v1alpha1.JobDefinition{Spec: v1alpha1.JobDefinitionSpec{
		InputSchema: &v1alpha1.InputSchema{OpenAPIV3Schema: jsonOf(`{"type":"object","required":["org"],"properties":{` +
			`"org":{"type":"string","maxLength":40},"full":{"type":"boolean","default":false},"id":{"type":"string","maxLength":40}}}`)},
		ConcurrencyKeyExpression: "input.org",
		Defaults:                 &v1alpha1.JobRunDefaults{Coalesce: v1alpha1.CoalesceSkip},
	}}
	for _, change := range change {
		change(defined)
	}
	d, errs := definition.Compile(defined)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return d
}

func TestCompleted(t *testing.T) {
	withIDs := func(d *v1alpha1.JobDefinition) { d.Spec.IdempotencyKeyExpression = "input.org" }
	for name, tc := range map[string]struct {
		input string
		by    Definition
		// want is the input, or empty if the trigger shares with none.
		want string
	}{
		"without a definition":                   {`{"x":1}`, nil, `{"x":1}`},
		"with a default":                         {`{"org":"k"}`, compiled(t), `{"full":false,"org":"k"}`},
		"of another key":                         {`{"org":"other"}`, compiled(t), ""},
		"that is not valid":                      {`{"org":1}`, compiled(t), ""},
		"whose definition gives idempotencyKeys": {`{"org":"k"}`, compiled(t, withIDs), ""},
	} {
		t.Run(name, func(t *testing.T) {
			sent := sharing(func(t *Trigger) { t.Spec.Input = jsonOf(tc.input) })
			got, ok := (&completion{by: tc.by}).of(&whole{Trigger: sent})
			if ok != (tc.want != "") || ok && string(got.Spec.Input.Raw) != tc.want {
				t.Errorf("%t %+v", ok, got)
			}
			if string(sent.Spec.Input.Raw) != tc.input {
				t.Errorf("the trigger that was sent is %s now", sent.Spec.Input.Raw)
			}
		})
	}
}
