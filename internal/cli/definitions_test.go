// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// aDefinition returns a definition that is an hour old and has been observed.
func aDefinition(name string, changes ...func(*v1alpha1.JobDefinition)) *v1alpha1.JobDefinition {
	d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, Generation: 3, CreationTimestamp: metav1.NewTime(synctestBegins.Add(-time.Hour)),
	}}
	d.Status = v1alpha1.JobDefinitionStatus{
		ObservedGeneration: 3, Waiting: new(int32(0)), Executing: new(int32(0)),
		Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionDefinitionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDefinitionValid, ObservedGeneration: 3,
			LastTransitionTime: metav1.NewTime(synctestBegins.Add(-time.Hour)), Message: "all of it is valid",
		}},
	}
	for _, change := range changes {
		change(d)
	}
	return d
}

func notReady(d *v1alpha1.JobDefinition) {
	ready := &d.Status.Conditions[0]
	ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, v1alpha1.ReasonInvalidExpression, "undeclared\nreference"
}

func suspended(d *v1alpha1.JobDefinition) { d.Spec.Suspend = new(true) }

// withAll sets every field that describe shows.
func withAll(d *v1alpha1.JobDefinition) {
	d.Labels = map[string]string{"team": "a"}
	d.Spec = v1alpha1.JobDefinitionSpec{
		Description:              "Copies the users of one organisation.",
		InputSchema:              &v1alpha1.InputSchema{OpenAPIV3Schema: jsonOf(inputSchemaText)},
		ConcurrencyKeyExpression: `"org_" + input.org`,
		IdempotencyKeyExpression: "input.requestID",
		Defaults:                 &v1alpha1.JobRunDefaults{Coalesce: v1alpha1.CoalesceSkip, TTLSecondsAfterFinished: new(int32(86400))},
		Overridable:              []v1alpha1.OverridableField{v1alpha1.OverridableActiveDeadlineSeconds},
		Template: &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Image: "sync:v2"}, {Image: "proxy:v1"}},
		}}}},
		Schedules: []v1alpha1.JobSchedule{
			{Name: "nightly", Schedule: "0 3 * * *", TimeZone: "Europe/Berlin", Input: jsonOf(`{"org":"acme"}`)},
			{Name: "weekly", Schedule: "@weekly", Suspend: new(true)},
		},
		Receivers: []v1alpha1.JobReceiver{
			{
				Name: "push", Type: v1alpha1.ReceiverGitHub, SecretRef: v1alpha1.ReceiverSecretReference{Name: "hooks", Key: "github"},
				Events: []string{"push", "release"}, FilterExpression: "!body.deleted", InputExpression: `{"org": body.organization.login}`,
			},
			{Name: "other", Type: v1alpha1.ReceiverHMAC, SecretRef: v1alpha1.ReceiverSecretReference{Name: "hooks", Key: "other"}},
		},
		SuccessfulRunsHistoryLimit: new(int32(7)),
	}
	d.Status.Waiting, d.Status.Executing = new(int32(2)), new(int32(1))
	d.Status.LastRunTime, d.Status.LastOutcome = &metav1.Time{Time: synctestBegins.Add(-3 * time.Minute)}, v1alpha1.PhaseFailed
	d.Status.Schedules = []v1alpha1.JobScheduleStatus{{
		Name: "nightly", LastScheduleTime: &metav1.Time{Time: synctestBegins.Add(-22 * time.Hour)}, LastRunName: "sync-users-abc",
		LastResult: "Created", NextScheduleTime: &metav1.Time{Time: synctestBegins.Add(2 * time.Hour)},
	}}
}

const inputSchemaText = `{"type": "object", "required": ["org", "mode"], "properties": {
  "org": {"type": "string", "maxLength": 40, "description": "Whose users."},
  "full": {"type": "boolean", "default": false},
  "note": {"type": "string", "minLength": 1},
  "code": {"type": "string", "minLength": 2, "maxLength": 3},
  "mode": {"type": "string", "enum": ["fast", "slow"]},
  "since": {"type": "string", "format": "date-time", "nullable": true},
  "share": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 0.5},
  "pages": {"type": "array", "maxItems": 3, "items": {"type": "object", "properties": {"from": {"type": "integer"}}}},
  "tags": {"type": "object", "additionalProperties": {"type": "string"}},
  "address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}}}}}`

func someDefinitions() []client.Object {
	elsewhere := aDefinition("other", func(d *v1alpha1.JobDefinition) { d.Namespace = "elsewhere" })
	return []client.Object{aDefinition("sync-users", withAll), aDefinition("report", suspended), elsewhere}
}

func TestDefinitions(t *testing.T) {
	for name, tc := range map[string]struct {
		args           []string
		stdout, stderr string
	}{
		"table": {
			stdout: "NAME         EXECUTOR   WAITING   EXECUTING   LAST   OUTCOME   SUSPENDED   SCHEDULES   NEXT   AGE\n" +
				"report       Worker     0         0           -      -         yes         -           -      60m\n" +
				"sync-users   Job        2         1           3m     Failed    -           1 of 2      120m   60m\n",
		},
		"all namespaces": {args: []string{"-A"}, stdout: "~NAMESPACE   NAME~default     sync-users~elsewhere   other"},
		"wide":           {args: []string{"-o", "wide"}, stdout: "~DESCRIPTION\n~Copies the users of one organisation."},
		"name": {
			args:   []string{"-o", "name"},
			stdout: "jobdefinition.batch.jobrun.dev/report\njobdefinition.batch.jobrun.dev/sync-users\n",
		},
		"json": {args: []string{"-o", "json"}, stdout: `~"kind": "JobDefinitionList"~"kind": "JobDefinition"~"concurrencyKeyExpression"`},
		"yaml": {args: []string{"-o", "yaml"}, stdout: "~kind: JobDefinitionList"},
		"none": {args: []string{"-n", "empty"}, stderr: "No job is defined in namespace empty.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run(append([]string{"definitions"}, tc.args...)...), 0, tc.stdout, tc.stderr)
			}, someDefinitions()...)
		})
	}
}

func TestNoDefinitionAnywhere(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("definitions", "-A"), 0, "", "No job is defined.\n")
		s.want(s.run("definitions", "extra"), 2, "", "~unknown command")
		s.want(s.run("definitions", "-o", "xml"), 2, "", "~-o xml is not an output format")
	})
}

// The column is there only if something is wrong, and says what.
func TestDefinitionsThatAreNotReady(t *testing.T) {
	fresh := aDefinition("fresh", func(d *v1alpha1.JobDefinition) { d.Status = v1alpha1.JobDefinitionStatus{} })
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("definitions"), 0,
			"NAME     EXECUTOR   WAITING   EXECUTING   LAST   OUTCOME   SUSPENDED   SCHEDULES   NEXT   AGE   PROBLEM\n"+
				"broken   Worker     0         0           -      -         -           -           -      60m   InvalidExpression: undeclared reference\n"+
				"fresh    Worker     -         -           -      -         -           -           -      60m   -\n", "")
	}, aDefinition("broken", notReady), fresh)
}

const syncUsersText = `Name:               sync-users
Namespace:          default
Labels:             team=a
Description:        Copies the users of one organisation.
Executor:           Job: sync:v2, proxy:v1
Runs:               2 waiting, 1 executing; the last one ended 3m ago: Failed
Key:                "org_" + input.org
Idempotency key:    input.requestID
Defaults:           {"coalesce":"Skip","ttlSecondsAfterFinished":86400}
A trigger may set:  input, labels, idempotencyKey, activeDeadlineSeconds
History:            7 completed runs, 100 failed or cancelled
Generation:         3
Created:            1999-12-31T23:00:00Z (60m ago)
Input:
  FIELD         TYPE                                   REQUIRED  DEFAULT  DESCRIPTION
  address       object                                 -         -        -
  address.city  string, matches ^[A-Z]                 yes       -        -
  code          string, 2 to 3 characters              -         -        -
  full          boolean                                -         false    -
  mode          string, one of "fast" "slow"           yes       -        -
  note          string, at least 1 character           -         -        -
  org           string, at most 40 characters          yes       -        Whose users.
  pages         array of object, at most 3 items       -         -        -
  pages[].from  integer                                -         -        -
  share         number, more than 0, at most 0.5       -         -        -
  since         string, format date-time, may be null  -         -        -
  tags          map of string                          -         -        -
Schedules:
  NAME     SCHEDULE   TIME ZONE      LAST                  RUN             RESULT   NEXT                  INPUT
  nightly  0 3 * * *  Europe/Berlin  1999-12-31T02:00:00Z  sync-users-abc  Created  2000-01-01T02:00:00Z  {"org":"acme"}
  weekly   @weekly    UTC            -                     -               -        suspended             -
Receivers:
  NAME   TYPE    SECRET        EVENTS         FILTER         INPUT
  push   GitHub  hooks/github  push, release  !body.deleted  {"org": body.organization.login}
  other  HMAC    hooks/other   all            -              -
Waiting and executing:
  NAME   KEY   PHASE    AGE  ERROR
  first  acme  Leased   2m   -
  next   acme  Pending  90s  the definition is suspended
Conditions:
  TYPE   STATUS  REASON  SINCE  MESSAGE
  Ready  True    Valid   60m    all of it is valid
Trigger it:  kubectl jobrun trigger sync-users --input '{"mode":"fast","org":"..."}'
`

func TestDescribeADefinition(t *testing.T) {
	of := func(r *v1alpha1.JobRun) { r.Spec.JobName, r.Labels[v1alpha1.LabelJobName] = "sync-users", "sync-users" }
	first := aRun("first", of, leased, func(r *v1alpha1.JobRun) { r.CreationTimestamp = metav1.NewTime(synctestBegins.Add(-2 * time.Minute)) })
	next := aRun("next", of, phase(v1alpha1.PhasePending), func(r *v1alpha1.JobRun) { r.Status.Error = "the definition is suspended" })
	objects := append(someDefinitions(), first, next, aRun("receipt", of, receiptOf("next")), aRun("ended", of, ending(completed)), aRun("another"))
	for _, args := range [][]string{
		{"definition", "sync-users"}, {"definition/sync-users"}, {"jobdefinition.batch.jobrun.dev/sync-users"}, {"jd", "sync-users"},
	} {
		inScene(t, func(_ *testing.T, s *scene) {
			s.want(s.run(append([]string{"describe"}, args...)...), 0, syncUsersText, "")
		}, objects...)
	}
}

func TestDescribeASmallDefinition(t *testing.T) {
	oneKey := func(d *v1alpha1.JobDefinition) { d.Spec.Defaults = &v1alpha1.JobRunDefaults{ConcurrencyKey: "all"} }
	ownKey := func(d *v1alpha1.JobDefinition) {
		d.Spec.Overridable = []v1alpha1.OverridableField{v1alpha1.OverridableConcurrencyKey}
	}
	anArray := func(d *v1alpha1.JobDefinition) {
		d.Spec.InputSchema = &v1alpha1.InputSchema{OpenAPIV3Schema: jsonOf(`{"type":"array","items":{"type":"string"}}`)}
	}
	for name, tc := range map[string]struct {
		definition *v1alpha1.JobDefinition
		stdout     string
	}{
		"of workers": {
			aDefinition("a", suspended),
			"~Suspended:          triggers are answered, and nothing starts\nExecutor:           Worker: a worker of job a claims the run\n" +
				"~Key:                none: runs may overlap\n~Input:              anything~Trigger it:  kubectl jobrun trigger a\n",
		},
		"not ready": {aDefinition("a", notReady), "~Not ready:          InvalidExpression: undeclared reference\n~Ready  False   InvalidExpression"},
		"one key":   {aDefinition("a", oneKey), "~Key:                \"all\" for all runs\nA trigger may set:  input, labels, idempotencyKey\n"},
		"own key":   {aDefinition("a", ownKey), "~Key:                the trigger's\n"},
		"an array":  {aDefinition("a", anArray), "~(input)  array of string~kubectl jobrun trigger a --input '[]'\n"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) { s.want(s.run("describe", "definition", "a"), 0, tc.stdout, "") }, tc.definition)
		})
	}
}

func TestDescribeNoDefinition(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("describe", "definition", "none"), 1, "", "~Error from server (NotFound)~`kubectl jobrun definitions` lists those of the namespace")
		s.want(s.run("describe", "pod", "a"), 2, "", "~\"pod/a\" is not a JobRun")
		s.want(s.run("describe", "definition", "Not_A_Name"), 2, "", "~JobDefinition.batch.jobrun.dev \"Not_A_Name\" is invalid")
	})
	inScene(t, func(_ *testing.T, s *scene) {
		s.forbidden.Store("jobruns", true)
		s.want(s.run("describe", "definition", "sync-users"), 0, "~Waiting and executing:  no permission to read", "")
	}, someDefinitions()...)
	// A run may have the name that stands before the name of a definition.
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("describe", "definition"), 0, "~Name:       definition\n", "")
	}, aRun("definition"))
}

func TestDescribeARunOfADefinition(t *testing.T) {
	run := aRun("a", leased, func(r *v1alpha1.JobRun) {
		r.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: "sync", Generation: 3}
		r.Status.Definition = &v1alpha1.DefinitionReference{Name: "sync", Generation: 4}
	})
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("describe", "a"), 0, "~Definition:  completed by generation 3, executed as of generation 4\n", "")
	}, run)
}

func TestCompletionOfDefinitions(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"jobs that are defined or have runs": {[]string{"trigger", ""}, "report\nsync\nsync-users\n:4\n"},
		"one job":                            {[]string{"trigger", "sync-users", ""}, ":4\n"},
		"described":                          {[]string{"describe", ""}, "a\ndefinition\n:4\n"},
		"described definitions":              {[]string{"describe", "definition", "s"}, "sync-users\n:4\n"},
		"after a run":                        {[]string{"describe", "a", ""}, ":4\n"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run(append([]string{"__complete"}, tc.args...)...), 0, tc.want, "~ShellCompDirectiveNoFileComp")
			}, append(someDefinitions(), aRun("a"))...)
		})
	}
}

func TestTriggerOfADefinedJob(t *testing.T) {
	jobRuns := v1alpha1.GroupVersion.WithKind("JobRun").GroupKind()
	refused := func(errs ...*field.Error) func(*v1alpha1.JobRun) error {
		return func(r *v1alpha1.JobRun) error { return apierrors.NewInvalid(jobRuns, r.Name, errs) }
	}
	input := field.NewPath("spec", "input")
	mayNot := errors.New(`a JobRun without spec.template needs the verb trigger on jobdefinitions.batch.jobrun.dev "sync-users"`)
	for name, tc := range map[string]struct {
		admit          func(*v1alpha1.JobRun) error
		code           int
		stdout, stderr string
	}{
		"created": {stdout: "jobrun.batch.jobrun.dev/a created\n"},
		"input that does not fit": {
			admit: refused(field.Required(input.Child("org"), ""), field.Forbidden(input.Child("orgg"), "unknown field")), code: 1,
			stderr: "~spec.input.org: Required value~spec.input.orgg: Forbidden: unknown field~\n`kubectl jobrun describe definition sync-users` shows",
		},
		"not overridable": {
			admit: refused(field.Forbidden(field.NewPath("spec", "maxAttempts"), "the overridable of JobDefinition sync-users does not list it")), code: 1,
			stderr: "~\n`kubectl jobrun describe definition sync-users` shows",
		},
		"not defined": {
			admit: refused(field.NotFound(field.NewPath("spec", "jobName"), "sync-users")), code: 1,
			stderr: "~spec.jobName: Not found~\n`kubectl jobrun definitions` lists the jobs that are defined here.",
		},
		"not allowed": {
			admit: func(r *v1alpha1.JobRun) error {
				return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), r.Name, mayNot)
			},
			code:   1,
			stderr: "~Error from server (Forbidden)~needs the verb trigger~\nNothing was created. `kubectl auth can-i trigger jobdefinitions.batch.jobrun.dev/sync-users` tells",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(t *testing.T, s *scene) {
				s.admit = tc.admit
				s.want(s.run("trigger", "sync-users", "--name=a", `--input={"org":"acme"}`), tc.code, tc.stdout, tc.stderr)
				if tc.admit != nil {
					return
				}
				if spec := s.read("a").Spec; spec.JobName != "sync-users" || spec.Template != nil || string(spec.Input.Raw) != `{"org":"acme"}` {
					t.Errorf("the trigger is %+v", spec)
				}
			})
		})
	}
}
