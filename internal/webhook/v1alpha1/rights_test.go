// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// asked is an authorizer that gives one answer and remembers the questions.
type asked struct {
	authorizer.Authorizer

	decision  authorizer.Decision
	err       error
	questions []authorizer.AttributesRecord
}

func (a *asked) Authorize(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return authorizer.DecisionNoOpinion, "", errors.New("a question without a deadline")
	}
	a.questions = append(a.questions, attributes.(authorizer.AttributesRecord))
	return a.decision, "", a.err
}

const theOperator = "system:serviceaccount:jobrun-system:jobrun-controller-manager"

func requestOf(userName string) admission.Request {
	var req admission.Request
	req.Namespace = "team"
	req.UserInfo = authenticationv1.UserInfo{
		Username: userName, UID: "u", Groups: []string{"staff"}, Extra: map[string]authenticationv1.ExtraValue{"token": {"t"}},
	}
	return req
}

func jobOf(cpu string) *batchv1.JobTemplateSpec {
	container := corev1.Container{Name: "main", Image: "x"}
	container.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: apiresource.MustParse(cpu)}
	template := &batchv1.JobTemplateSpec{}
	template.Spec.Template.Spec.Containers = []corev1.Container{container}
	return template
}

// The questions that a trigger or a definition leads to.
var (
	ann = &user.DefaultInfo{Name: "ann", UID: "u", Groups: []string{"staff"}, Extra: map[string][]string{"token": {"t"}}}

	mayTrigger = authorizer.AttributesRecord{
		User: ann, Verb: "trigger", Namespace: "team", APIGroup: "batch.jobrun.dev", APIVersion: "v1alpha1", Resource: "jobdefinitions",
		Name: "sync-users", ResourceRequest: true,
	}
	mayCreateJobs = authorizer.AttributesRecord{
		User: ann, Verb: "create", Namespace: "team", APIGroup: "batch", APIVersion: "v1", Resource: "jobs", ResourceRequest: true,
	}
)

func TestRightsOfATrigger(t *testing.T) {
	const rule = "{apiGroups: [batch.jobrun.dev], resources: [jobdefinitions], resourceNames: [sync-users], verbs: [trigger]}"
	for name, tc := range map[string]struct {
		spec v1alpha1.JobRunSpec
		user string
		asks []authorizer.AttributesRecord
		// says are parts of the 403.
		says []string
	}{
		"without a template": {
			v1alpha1.JobRunSpec{JobName: "sync-users"}, "ann", []authorizer.AttributesRecord{mayTrigger},
			[]string{`jobruns.batch.jobrun.dev "a" is forbidden`, "without spec.template", `"ann"`, `namespace "team"`, rule},
		},
		"with a template": {
			v1alpha1.JobRunSpec{JobName: "sync-users", Template: jobOf("1")}, "ann", []authorizer.AttributesRecord{mayCreateJobs},
			[]string{"with spec.template", "create on jobs.batch", "{apiGroups: [batch], resources: [jobs], verbs: [create]}"},
		},
		"by the operator":              {v1alpha1.JobRunSpec{JobName: "sync-users"}, theOperator, nil, nil},
		"by the operator's other name": {v1alpha1.JobRunSpec{JobName: "sync-users"}, theOperator + "2", []authorizer.AttributesRecord{mayTrigger}, []string{rule}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, decision := range []authorizer.Decision{authorizer.DecisionAllow, authorizer.DecisionNoOpinion, authorizer.DecisionDeny} {
				a := &asked{decision: decision}
				run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: tc.spec}
				denied := rights{a, theOperator, ""}.checkTrigger(t.Context(), requestOf(tc.user), run)
				if len(a.questions) > 0 {
					a.questions[0].User.(*user.DefaultInfo).Name = strings.ReplaceAll(tc.user, theOperator+"2", "ann")
				}
				if diff := cmp.Diff(tc.asks, a.questions); diff != "" {
					t.Errorf("questions (-want +got):\n%s", diff)
				}
				if decision == authorizer.DecisionAllow || tc.asks == nil {
					if denied != nil {
						t.Errorf("refused: %v", denied)
					}
					continue
				}
				expectForbidden(t, denied, tc.says...)
			}
		})
	}
}

func expectForbidden(t *testing.T, err *apierrors.StatusError, says ...string) {
	t.Helper()
	if err == nil || err.ErrStatus.Code != http.StatusForbidden || err.ErrStatus.Reason != metav1.StatusReasonForbidden {
		t.Fatalf("got %v; want a 403", err)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err.Error(), part)
		}
	}
}

// A name that no job can have is not asked about, because each answer takes memory.
func TestRightsOfAnImpossibleJob(t *testing.T) {
	a := &asked{}
	check := func(jobName string) *apierrors.StatusError {
		return rights{a, "", ""}.checkTrigger(t.Context(), requestOf("ann"), &v1alpha1.JobRun{Spec: v1alpha1.JobRunSpec{JobName: jobName}})
	}
	if err := check(strings.Repeat("j", 64)); err == nil || err.ErrStatus.Code != http.StatusUnprocessableEntity || err.ErrStatus.Details.Causes[0].Field != "spec.jobName" {
		t.Errorf("a long jobName: got %v; want a 422", err)
	}
	if err := check(""); err != nil {
		t.Errorf("no jobName: got %v", err)
	}
	if len(a.questions) > 0 {
		t.Errorf("asked %v", a.questions)
	}
}

func TestRightsOfADefinition(t *testing.T) {
	with := func(template *batchv1.JobTemplateSpec) *v1alpha1.JobDefinition {
		return &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "sync-users"}, Spec: v1alpha1.JobDefinitionSpec{Template: template}}
	}
	for name, tc := range map[string]struct {
		old, new *v1alpha1.JobDefinition
		asks     bool
	}{
		"created with a template":      {nil, with(jobOf("1")), true},
		"created without one":          {nil, with(nil), false},
		"a template that is new":       {with(nil), with(jobOf("1")), true},
		"a template that changed":      {with(jobOf("1")), with(jobOf("2")), true},
		"a template that is the same":  {with(jobOf("1")), with(jobOf("1")), false},
		"a template written otherwise": {with(jobOf("1")), with(jobOf("1000m")), false},
		"a template that goes":         {with(jobOf("1")), with(nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			a := &asked{}
			denied := newRights(Options{Authorizer: a}).checkDefinition(t.Context(), requestOf("ann"), tc.old, tc.new)
			if !tc.asks {
				if denied != nil || len(a.questions) > 0 {
					t.Errorf("asked %v, %v", a.questions, denied)
				}
				return
			}
			if diff := cmp.Diff([]authorizer.AttributesRecord{mayCreateJobs}, a.questions); diff != "" {
				t.Errorf("questions (-want +got):\n%s", diff)
			}
			expectForbidden(t, denied, `jobdefinitions.batch.jobrun.dev "sync-users" is forbidden`, "create on jobs.batch")
		})
	}
}

// A schedule triggers the job with the operator's rights.
func TestRightsOfASchedule(t *testing.T) {
	const nightly = "{name: nightly, schedule: '0 3 * * *', timeZone: Europe/Berlin, input: {org: acme}, startingDeadlineSeconds: 60"
	const weekly = "{name: weekly, schedule: '@weekly'}"
	for name, tc := range map[string]struct {
		old, new string
		asks     bool
	}{
		"created with one":         {"", nightly + "}", true},
		"created without one":      {"", "", false},
		"a new one":                {weekly, weekly + ", " + nightly + "}", true},
		"a new one, suspended":     {weekly, weekly + ", " + nightly + ", suspend: true}", true},
		"the same":                 {nightly + "}", nightly + "}", false},
		"the order":                {nightly + "}, " + weekly, weekly + ", " + nightly + "}", false},
		"one goes":                 {nightly + "}, " + weekly, weekly, false},
		"all go":                   {nightly + "}, " + weekly, "", false},
		"another name":             {nightly + "}", strings.Replace(nightly, "nightly", "daily", 1) + "}", true},
		"another time":             {nightly + "}", strings.Replace(nightly, "0 3", "0 4", 1) + "}", true},
		"another time zone":        {nightly + "}", strings.Replace(nightly, "Berlin", "Paris", 1) + "}", true},
		"another input":            {nightly + "}", strings.Replace(nightly, "acme", "other", 1) + "}", true},
		"another deadline":         {nightly + "}", strings.Replace(nightly, "60", "90", 1) + "}", true},
		"suspended":                {nightly + "}", nightly + ", suspend: true}", false},
		"suspended, another time":  {nightly + "}", strings.Replace(nightly, "0 3", "0 4", 1) + ", suspend: true}", true},
		"stays suspended":          {nightly + ", suspend: true}", nightly + ", suspend: true}", false},
		"goes on":                  {nightly + ", suspend: true}", nightly + "}", true},
		"goes on, in other words":  {nightly + ", suspend: true}", nightly + ", suspend: false}", true},
		"says that it goes on":     {nightly + "}", nightly + ", suspend: false}", false},
		"the input in other order": {"{name: a, schedule: '@daily', input: {b: 1, a: 2}}", "{name: a, schedule: '@daily', input: {a: 2, b: 1}}", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := &asked{}
			with := func(schedules string) *v1alpha1.JobDefinition {
				d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "sync-users"}}
				if err := yaml.Unmarshal([]byte("["+schedules+"]"), &d.Spec.Schedules); err != nil {
					t.Fatal(err)
				}
				return d
			}
			denied := newRights(Options{Authorizer: a}).checkDefinition(t.Context(), requestOf("ann"), with(tc.old), with(tc.new))
			if !tc.asks {
				if denied != nil || len(a.questions) > 0 {
					t.Errorf("asked %v, %v", a.questions, denied)
				}
				return
			}
			if diff := cmp.Diff([]authorizer.AttributesRecord{mayTrigger}, a.questions); diff != "" {
				t.Errorf("questions (-want +got):\n%s", diff)
			}
			expectForbidden(t, denied, `jobdefinitions.batch.jobrun.dev "sync-users" is forbidden`, "writing the schedule",
				`needs the verb trigger on jobdefinitions.batch.jobrun.dev "sync-users"`, "resourceNames: [sync-users], verbs: [trigger]}")
		})
	}
}

// A receiver triggers the job with the gateway's rights.
func TestRightsOfAReceiver(t *testing.T) {
	const push = "{name: push, type: GitHub, secretRef: {name: s, key: k}, events: [push]"
	const other = "{name: other, type: HMAC, secretRef: {name: s, key: k}}"
	for name, tc := range map[string]struct {
		old, new string
		asks     bool
	}{
		"created with one": {"", push + "}", true},
		"a new one":        {other, other + ", " + push + "}", true},
		"the same":         {push + "}", push + "}", false},
		"the order":        {push + "}, " + other, other + ", " + push + "}", false},
		"one goes":         {push + "}, " + other, other, false},
		"another name":     {push + "}", strings.Replace(push, "name: push", "name: pull", 1) + "}", true},
		"another type":     {push + "}", strings.Replace(push, "GitHub", "GitLab", 1) + "}", true},
		"another secret":   {push + "}", strings.Replace(push, "key: k", "key: l", 1) + "}", true},
		"more events":      {push + "}", strings.Replace(push, "[push]", "[push, pull_request]", 1) + "}", true},
		"a filter":         {push + "}", push + ", filterExpression: 'true'}", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := &asked{}
			with := func(receivers string) *v1alpha1.JobDefinition {
				d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "sync-users"}}
				if err := yaml.Unmarshal([]byte("["+receivers+"]"), &d.Spec.Receivers); err != nil {
					t.Fatal(err)
				}
				return d
			}
			denied := newRights(Options{Authorizer: a}).checkDefinition(t.Context(), requestOf("ann"), with(tc.old), with(tc.new))
			if !tc.asks {
				if denied != nil || len(a.questions) > 0 {
					t.Errorf("asked %v, %v", a.questions, denied)
				}
				return
			}
			if diff := cmp.Diff([]authorizer.AttributesRecord{mayTrigger}, a.questions); diff != "" {
				t.Errorf("questions (-want +got):\n%s", diff)
			}
			expectForbidden(t, denied, `jobdefinitions.batch.jobrun.dev "sync-users" is forbidden`, "writing the receiver",
				"resourceNames: [sync-users], verbs: [trigger]}")
		})
	}
}

// A definition with a template and a schedule needs both rights, and the operator none.
func TestRightsOfADefinitionWithBoth(t *testing.T) {
	both := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "sync-users"}}
	both.Spec.Template, both.Spec.Schedules = jobOf("1"), []v1alpha1.JobSchedule{{Name: "nightly", Schedule: "@daily"}}
	for user, want := range map[string][]authorizer.AttributesRecord{"ann": {mayCreateJobs, mayTrigger}, theOperator: nil} {
		a := &asked{decision: authorizer.DecisionAllow}
		denied := rights{authorizer: a, operator: theOperator}.checkDefinition(t.Context(), requestOf(user), nil, both)
		if diff := cmp.Diff(want, a.questions); denied != nil || diff != "" {
			t.Errorf("%s: %v, questions (-want +got):\n%s", user, denied, diff)
		}
	}
}

// An answer that is not known is no refusal: the caller tries again.
func TestRightsThatAreNotKnown(t *testing.T) {
	a := &asked{decision: authorizer.DecisionAllow, err: errors.New("no connection")}
	run := &v1alpha1.JobRun{Spec: v1alpha1.JobRunSpec{JobName: "sync-users"}}
	err := rights{a, theOperator, ""}.checkTrigger(t.Context(), requestOf("ann"), run)
	if err == nil || !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "no connection") {
		t.Errorf("got %v; want a 503", err)
	}
}

func TestNobodyIsAskedWithoutAnAuthorizer(t *testing.T) {
	run := &v1alpha1.JobRun{Spec: v1alpha1.JobRunSpec{JobName: "sync-users"}}
	if err := newRights(Options{}).checkTrigger(t.Context(), requestOf(""), run); err != nil {
		t.Errorf("refused: %v", err)
	}
}

// A webhook that does not know the operator's name exempts nobody.
func TestAnEmptyNameIsNotTheOperators(t *testing.T) {
	run := &v1alpha1.JobRun{Spec: v1alpha1.JobRunSpec{JobName: "sync-users"}}
	expectForbidden(t, newRights(Options{Authorizer: &asked{}}).checkTrigger(t.Context(), requestOf(""), run))
}
