// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authorization/authorizer"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// by sets the user of a request.
func by(userName string) func(*admission.Request) {
	return func(req *admission.Request) { req.UserInfo.Username = userName }
}

// A trigger of a user without the right is refused before anything is read or reserved, a dry run, too.
func TestCreateWithoutTheRight(t *testing.T) {
	unknown := errors.New("no connection")
	for name, tc := range map[string]struct {
		manifest string
		err      error
		code     int32
	}{
		"to trigger the job":         {plain, nil, http.StatusForbidden},
		"to create Jobs":             {withTemplate("b", onePod), nil, http.StatusForbidden},
		"with other errors":          {"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: ''}\n", nil, http.StatusForbidden},
		"that could be looked up":    {plain, unknown, http.StatusServiceUnavailable},
		"of a jobName without end":   {"metadata: {name: b}\nspec: {concurrencyKey: k, jobName: " + strings.Repeat("j", 64) + "}\n", nil, http.StatusUnprocessableEntity},
		"and without any job at all": {"metadata: {name: b}\nspec: {concurrencyKey: k}\n", nil, http.StatusUnprocessableEntity},
	} {
		t.Run(name, func(t *testing.T) {
			asks := authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
				return authorizer.DecisionNoOpinion, "", tc.err
			})
			store := wrappers.NewStore(nil)
			r := newReplicaOn(t, tokens("token-b"), store, store, func(o *webhook.Options) { o.Authorizer = asks })
			for _, response := range []admission.Response{r.create(t, tc.manifest, by("ann")), r.create(t, tc.manifest, by("ann"), dryRun)} {
				if response.Allowed || response.Result.Code != tc.code {
					t.Errorf("allowed %t, %+v; want a %d", response.Allowed, response.Result, tc.code)
				}
			}
			if writes := r.store.Writes(); len(writes) > 0 || r.store.Reads() > 0 {
				t.Errorf("wrote %v and read %d times", writes, r.store.Reads())
			}
		})
	}
}

func TestCreateStampsItsUser(t *testing.T) {
	long := strings.Repeat("é", 600)
	for name, tc := range map[string]struct{ annotations, user, want string }{
		"no annotations":  {"", "ann", "ann"},
		"null":            {", annotations: null", "ann", "ann"},
		"others":          {", annotations: {note: nightly}", "ann", "ann"},
		"a forged one":    {", annotations: {batch.jobrun.dev/triggered-by: root}", "ann", "ann"},
		"the same one":    {", annotations: {batch.jobrun.dev/triggered-by: ann}", "ann", "ann"},
		"a very long one": {"", long, long[:1024]},
	} {
		t.Run(name, func(t *testing.T) {
			manifest := "metadata: {name: b" + tc.annotations + "}\nspec: {jobName: job, concurrencyKey: k}\n"
			response := newReplica(t).create(t, manifest, by(tc.user))
			run, _ := admitted(t, manifest, response)
			if got := run.Annotations[v1alpha1.AnnotationTriggeredBy]; got != tc.want {
				t.Errorf("got %q", got)
			}
			if strings.Contains(tc.annotations, "note") && run.Annotations["note"] != "nightly" {
				t.Errorf("annotations: %v", run.Annotations)
			}
		})
	}
}

// Only the gateway may name the user that it triggers for.
func TestCreateKeepsTheUserThatTheGatewayNames(t *testing.T) {
	const gateway = "system:serviceaccount:jobrun-system:jobrun-gateway"
	for name, tc := range map[string]struct{ gateway, user, annotations, want string }{
		"the gateway":                       {gateway, gateway, ", annotations: {batch.jobrun.dev/triggered-by: ann}", "ann"},
		"the gateway for itself":            {gateway, gateway, "", gateway},
		"the gateway without a name":        {gateway, gateway, ", annotations: {batch.jobrun.dev/triggered-by: ''}", gateway},
		"the gateway with a long name":      {gateway, gateway, ", annotations: {batch.jobrun.dev/triggered-by: " + strings.Repeat("x", 1025) + "}", strings.Repeat("x", 1024)},
		"another user":                      {gateway, "bob", ", annotations: {batch.jobrun.dev/triggered-by: ann}", "bob"},
		"its namesake":                      {gateway, "system:serviceaccount:other:jobrun-gateway", ", annotations: {batch.jobrun.dev/triggered-by: ann}", "system:serviceaccount:other:jobrun-gateway"},
		"a user without a name, no gateway": {"", "", ", annotations: {batch.jobrun.dev/triggered-by: ann}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			manifest := "metadata: {name: b" + tc.annotations + "}\nspec: {jobName: job, concurrencyKey: k}\n"
			store := wrappers.NewStore(nil)
			r := newReplicaOn(t, tokens("token-b"), store, store, func(o *webhook.Options) { o.Gateway = tc.gateway })
			run, _ := admitted(t, manifest, r.create(t, manifest, by(tc.user)))
			if got := run.Annotations[v1alpha1.AnnotationTriggeredBy]; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Only the gateway sets the label of a receiver, and only for that receiver: its callers may send labels, too.
func TestCreateDropsTheLabelOfAReceiver(t *testing.T) {
	const gateway = "system:serviceaccount:jobrun-system:jobrun-gateway"
	for name, tc := range map[string]struct {
		user, triggeredBy, label string
		kept                     bool
	}{
		"the gateway for the receiver":   {gateway, "receiver:default/job/push", "push", true},
		"the gateway for a caller":       {gateway, "ann", "push", false},
		"the gateway for another one":    {gateway, "receiver:default/job/pull", "push", false},
		"the gateway for another job":    {gateway, "receiver:default/other/push", "push", false},
		"another user":                   {"ann", "receiver:default/job/push", "push", false},
		"another user, an empty name":    {"ann", "receiver:default/job/", "''", false},
		"the gateway without a receiver": {gateway, "receiver:default/job/push", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			labels := "{team: a}"
			if tc.label != "" {
				labels = "{team: a, batch.jobrun.dev/receiver: " + tc.label + "}"
			}
			manifest := "metadata: {name: b, namespace: default, labels: " + labels + ", annotations: {batch.jobrun.dev/triggered-by: '" + tc.triggeredBy + "'}}\n" +
				"spec: {jobName: job, concurrencyKey: k}\n"
			store := wrappers.NewStore(nil)
			r := newReplicaOn(t, tokens("token-b"), store, store, func(o *webhook.Options) { o.Gateway = gateway })
			run, _ := admitted(t, manifest, r.create(t, manifest, by(tc.user)))
			if _, kept := run.Labels[v1alpha1.LabelReceiver]; kept != tc.kept || run.Labels["team"] != "a" {
				t.Errorf("labels %v", run.Labels)
			}
		})
	}
}

// The user's name counts for the limit on annotations before a key is taken.
func TestCreateWithoutRoomForItsUser(t *testing.T) {
	full := strings.Repeat("x", 256<<10-len("note"))
	manifest := "metadata: {name: b, annotations: {note: " + full + "}}\nspec: {jobName: job, concurrencyKey: k}\n"
	admitted(t, manifest, newReplica(t).create(t, manifest))
	r := newReplica(t)
	response := r.create(t, manifest, by("ann"))
	if response.Allowed || response.Result.Code != http.StatusUnprocessableEntity || response.Result.Details.Causes[0].Field != "metadata.annotations" {
		t.Errorf("allowed %t, %.300v", response.Allowed, response.Result)
	}
	if writes := r.store.Writes(); len(writes) > 0 {
		t.Errorf("left taken: %v", writes)
	}
}

func TestUpdateKeepsTheUser(t *testing.T) {
	by := func(annotations string) string {
		return "metadata: {name: b, labels: " + labels + annotations + "}\nspec: {jobName: job, concurrencyKey: k, admission: " + answer + "}\n"
	}
	const ann = ", annotations: {batch.jobrun.dev/triggered-by: ann}"
	for name, tc := range map[string]struct {
		before, after string
		patches       int
		want          string
	}{
		"the same":                {by(ann), by(ann), 0, "ann"},
		"another":                 {by(ann), by(", annotations: {batch.jobrun.dev/triggered-by: root}"), 1, "ann"},
		"gone":                    {by(ann), by(", annotations: {note: x}"), 1, "ann"},
		"gone with all others":    {by(ann), by(""), 2, "ann"},
		"new where there is none": {by(""), by(ann), 1, ""},
		"none":                    {by(""), by(""), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			response := newReplica(t).update(t, tc.before, tc.after)
			run, _ := admitted(t, tc.after, response)
			if got, has := run.Annotations[v1alpha1.AnnotationTriggeredBy]; got != tc.want || has != (tc.want != "") {
				t.Errorf("got %v", run.Annotations)
			}
			if len(response.Patches) != tc.patches {
				t.Errorf("patched %v", response.Patches)
			}
		})
	}
}

// Only the operator triggers in the name of a schedule.
func TestCreateKeepsTheLabelOfAScheduleForTheOperator(t *testing.T) {
	const scheduled = "metadata: {name: b, labels: {batch.jobrun.dev/schedule: nightly, team: a}}\nspec: {jobName: job, concurrencyKey: k}\n"
	for userName, want := range map[string]string{"ann": "", "operator": "nightly"} {
		store := wrappers.NewStore(nil)
		r := newReplicaOn(t, tokens("token-b"), store, store, func(o *webhook.Options) { o.Operator = "operator" })
		run, _ := admitted(t, scheduled, r.create(t, scheduled, by(userName)))
		if got := run.Labels["batch.jobrun.dev/schedule"]; got != want || run.Labels["team"] != "a" {
			t.Errorf("%s: labels %v", userName, run.Labels)
		}
	}
}
