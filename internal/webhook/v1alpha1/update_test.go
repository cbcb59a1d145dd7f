// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func (r replica) update(t *testing.T, before, after string) admission.Response {
	t.Helper()
	return r.Handle(context.Background(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "x", Operation: admissionv1.Update, Name: "b",
		OldObject: runtime.RawExtension{Raw: toJSON(t, before)}, Object: runtime.RawExtension{Raw: toJSON(t, after)},
	}})
}

const (
	labels = "{batch.jobrun.dev/job-name: job, batch.jobrun.dev/key: c-x, batch.jobrun.dev/disposition: created}"
	answer = "{disposition: Created, runName: b, runToken: t, token: t}"
	// definedAnswer is the answer to a trigger that a definition completed.
	definedAnswer = "{disposition: Created, runName: b, runToken: t, token: t, executor: Job, definition: {name: job, uid: u, generation: 1}}"
)

// ours returns the manifest of a JobRun with these labels and these fields in its spec.
func ours(labels, spec string) string {
	return "metadata: {name: b, labels: " + labels + "}\nspec: {jobName: job, concurrencyKey: k, " + spec + "}\n"
}

func TestUpdate(t *testing.T) {
	template := func(cpu string) string {
		return "admission: " + answer + ", template: {spec: {template: {spec: {restartPolicy: Never, " +
			"containers: [{name: main, image: x, resources: {limits: {cpu: " + cpu + "}}}]}}}}"
	}
	rendered := "admission: " + answer + ", template: {metadata: {}, spec: {template: {metadata: {creationTimestamp: null}, spec: {restartPolicy: Never, " +
		"containers: [{name: main, image: x, resources: {limits: {cpu: '1'}}}]}}}}"
	stamped := ours(labels, "admission: "+answer)
	for name, tc := range map[string]struct {
		before, after string
		// field is the field that the refusal names; empty if the update is allowed.
		field string
		// want is the object after the patch. If empty, the object stays as it was sent.
		want string
	}{
		"nothing changes":                    {before: stamped, after: stamped},
		"a label is added":                   {before: stamped, after: ours(labels[:len(labels)-1]+", env: prod}", "admission: "+answer)},
		"cancel":                             {before: stamped, after: ours(labels, "cancel: true, admission: "+answer)},
		"a template that is rendered anew":   {before: ours(labels, template("1000m")), after: ours(labels, rendered)},
		"a template that changed":            {before: ours(labels, template("1000m")), after: ours(labels, template("2")), field: "spec.template"},
		"a template that is gone":            {before: ours(labels, template("1000m")), after: stamped, field: "spec.template"},
		"a template that is new":             {before: stamped, after: ours(labels, template("1")), field: "spec.template"},
		"an input that is written otherwise": {before: ours(labels, `input: {a: 1, b: [x]}, admission: `+answer), after: ours(labels, `input: {b: [x], a: 1}, admission: `+answer)},
		"an input that changed":              {before: ours(labels, `input: {a: 1}, admission: `+answer), after: ours(labels, `input: {a: 2}, admission: `+answer), field: "spec.input"},
		"an input that is gone":              {before: ours(labels, `input: {a: 1}, admission: `+answer), after: stamped, field: "spec.input"},
		"an input that is new":               {before: stamped, after: ours(labels, `input: false, admission: `+answer), field: "spec.input"},
		"an input of other type":             {before: ours(labels, `input: "1", admission: `+answer), after: ours(labels, `input: 1, admission: `+answer), field: "spec.input"},
		"a number beyond floats":             {before: ours(labels, `input: 9007199254740993, admission: `+answer), after: ours(labels, `input: 9007199254740992, admission: `+answer), field: "spec.input"},
		"null is no input":                   {before: stamped, after: ours(labels, "input: null, admission: "+answer)},
		"no input is null":                   {before: ours(labels, "input: null, admission: "+answer), after: stamped},
		"null deeper is something":           {before: ours(labels, "input: {a: null}, admission: "+answer), after: ours(labels, "input: {}, admission: "+answer), field: "spec.input"},

		"stamped labels are put back": {before: stamped, after: ours("{env: prod}", "admission: "+answer), want: ours(labels[:len(labels)-1]+", env: prod}", "admission: "+answer)},
		"all labels are put back":     {before: stamped, after: "metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, admission: " + answer + "}\n", want: stamped},
		"changed labels are put back": {before: stamped, after: ours("{batch.jobrun.dev/job-name: x, batch.jobrun.dev/key: x, batch.jobrun.dev/disposition: x}", "admission: "+answer), want: stamped},
		"admission is put back":       {before: stamped, after: ours(labels, ""), want: stamped},
		"a changed admission is put back": {
			before: stamped, after: ours(labels, "admission: {disposition: Coalesced, runName: x, runToken: x, token: x}"), want: stamped,
		},
		"the fields of every JobRun are put back": {
			before: ours(labels, "maxAttempts: 5, onLeaseExpired: Fail, onJobLost: Requeue, admission: "+answer), after: stamped,
			want: ours(labels, "maxAttempts: 5, onLeaseExpired: Fail, onJobLost: Requeue, admission: "+answer),
		},
		"a changed one of them stays for CEL to refuse": {
			before: ours(labels, "maxAttempts: 5, onLeaseExpired: Fail, admission: "+answer),
			after:  ours(labels, "maxAttempts: 3, onLeaseExpired: Requeue, admission: "+answer),
		},
		"a 0 stays for the schema to refuse": {
			before: ours(labels, "maxAttempts: 5, admission: "+answer), after: ours(labels, "maxAttempts: 0, admission: "+answer),
		},
		"a JobRun without them gets none": {before: stamped, after: stamped},
		"what a definition gave is put back": {
			before: ours(labels, "coalesce: Skip, idempotencyKey: i, ttlSecondsAfterFinished: 0, input: {a: 1, b: false}, admission: "+definedAnswer),
			after:  "metadata: {name: b}\nspec: {jobName: job, input: {a: 1}}\n",
			want:   ours(labels, "coalesce: Skip, idempotencyKey: i, ttlSecondsAfterFinished: 0, input: {a: 1, b: false}, admission: "+definedAnswer),
		},
		"another key stays for CEL to refuse": {
			before: ours(labels, "admission: "+definedAnswer),
			after:  "metadata: {name: b, labels: " + labels + "}\nspec: {jobName: job, concurrencyKey: other, admission: " + definedAnswer + "}\n",
		},
		"an empty key stays for the schema to refuse": {
			before: ours(labels, "admission: "+definedAnswer),
			after:  "metadata: {name: b, labels: " + labels + "}\nspec: {jobName: job, concurrencyKey: '', admission: " + definedAnswer + "}\n",
		},
		"an input that a definition completed has changed": {
			before: ours(labels, "input: {a: 1, b: false}, admission: "+definedAnswer), after: ours(labels, "input: {a: 2}, admission: "+definedAnswer), field: "spec.input",
		},
		"a template of its own that is gone": {
			before: ours(labels, definedTemplate+", admission: "+definedAnswer), after: ours(labels, "admission: "+definedAnswer), field: "spec.template",
		},
		"the key of a run without a definition stays away for CEL to refuse": {
			before: stamped, after: "metadata: {name: b, labels: " + labels + "}\nspec: {jobName: job, admission: " + answer + "}\n",
		},
		"the executor's label is put back": {
			before: ours("{batch.jobrun.dev/executor: worker}", ""), after: ours("{batch.jobrun.dev/executor: job}", ""), want: ours("{batch.jobrun.dev/executor: worker}", ""),
		},
		"a JobRun without an admission gets none": {
			before: ours("{}", ""), after: ours(labels, "admission: "+answer), want: ours("{}", ""),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			response := r.update(t, tc.before, tc.after)
			if writes := r.store.Writes(); len(writes) > 0 || r.store.Reads() > 0 {
				t.Errorf("an update writes %v and reads %d times", writes, r.store.Reads())
			}
			if tc.field != "" {
				if response.Allowed || response.Result.Code != http.StatusUnprocessableEntity || response.Result.Details.Causes[0].Field != tc.field {
					t.Errorf("allowed %t, %+v; want a refusal of %s", response.Allowed, response.Result, tc.field)
				}
				return
			}
			if tc.want == "" {
				tc.want = tc.after
				if len(response.Patches) > 0 {
					t.Errorf("patched: %v", response.Patches)
				}
			}
			got, _ := admitted(t, tc.after, response)
			want, _ := admitted(t, tc.want, admission.Allowed(""))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("object (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUpdateThatCannotBeRead(t *testing.T) {
	for name, tc := range map[string]struct{ before, after, field string }{
		"the new object": {ours(labels, ""), "metadata: {name: b}\nspec: {jobName: 5}\n", "spec.jobName"},
		"the old object": {"metadata: {name: b}\nspec: {cancel: 'x'}\n", ours(labels, ""), "spec.cancel"},
	} {
		t.Run(name, func(t *testing.T) {
			response := newReplica(t).update(t, tc.before, tc.after)
			if response.Allowed || response.Result.Code != http.StatusUnprocessableEntity || response.Result.Details.Causes[0].Field != tc.field {
				t.Errorf("allowed %t, %+v; want a refusal of %s", response.Allowed, response.Result, tc.field)
			}
		})
	}
}
