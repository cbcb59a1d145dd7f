// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const podSpec = `{restartPolicy: Never, containers: [{name: main, image: busybox}]}`

func TestJobRunSpec(t *testing.T) {
	label, control := "must be a DNS-1123 label", "must not contain control characters"
	for name, tc := range map[string]struct {
		spec string
		want refusal
	}{
		"minimal": {spec: `{jobName: sync}`},
		"everything": {spec: `{jobName: sync, input: {org: acme}, concurrencyKey: k, coalesce: Skip, idempotencyKey: i,
			idempotencyTTLSeconds: 60, idempotencyRelease: OnFailure,
			leaseDurationSeconds: 30, maxAttempts: 3, ttlSecondsAfterFinished: 0, cancel: false,
			template: {spec: {template: {spec: ` + podSpec + `}}},
			admission: {disposition: Created, runName: r, runToken: t, keyVersion: "1", token: t}}`},

		"jobName missing":              {`{}`, refusal{"spec.jobName", "Required value"}},
		"jobName empty":                {`{jobName: ""}`, refusal{"spec.jobName", "at least 1 chars"}},
		"jobName of 63 characters":     {spec: `{jobName: ` + strings.Repeat("a", 63) + `}`},
		"jobName of 64 characters":     {`{jobName: ` + strings.Repeat("a", 64) + `}`, refusal{"spec.jobName", "may not be more than 63"}},
		"jobName of digits":            {spec: `{jobName: "123"}`},
		"jobName with upper case":      {`{jobName: Sync}`, refusal{"spec.jobName", label}},
		"jobName with an underscore":   {`{jobName: sync_users}`, refusal{"spec.jobName", label}},
		"jobName with a dot":           {`{jobName: sync.users}`, refusal{"spec.jobName", label}},
		"jobName with a slash":         {`{jobName: sync/users}`, refusal{"spec.jobName", label}},
		"jobName that begins with '-'": {`{jobName: -sync}`, refusal{"spec.jobName", label}},
		"jobName that ends with '-'":   {`{jobName: sync-}`, refusal{"spec.jobName", label}},
		"jobName that is no string":    {`{jobName: 5}`, refusal{"spec.jobName", "must be of type string"}},

		"concurrencyKey of odd characters":    {spec: `{jobName: a, concurrencyKey: "a/b \"c\" '\u00a0💥~"}`},
		"concurrencyKey of 5,000 characters":  {`{jobName: a, concurrencyKey: ` + strings.Repeat("k", 5000) + `}`, refusal{"spec.concurrencyKey", "may not be more than 256"}},
		"concurrencyKey with U+0000":          {`{jobName: a, concurrencyKey: "a\0b"}`, refusal{"spec.concurrencyKey", control}},
		"concurrencyKey with a newline":       {`{jobName: a, concurrencyKey: "a\n"}`, refusal{"spec.concurrencyKey", control}},
		"concurrencyKey with U+001F":          {`{jobName: a, concurrencyKey: "\x1f"}`, refusal{"spec.concurrencyKey", control}},
		"concurrencyKey with U+007F":          {`{jobName: a, concurrencyKey: "a\x7f"}`, refusal{"spec.concurrencyKey", control}},
		"concurrencyKey with U+009F":          {`{jobName: a, concurrencyKey: "a\x9f"}`, refusal{"spec.concurrencyKey", control}},
		"idempotencyKey of odd characters":    {spec: `{jobName: a, idempotencyKey: "a/b \"c\" '\u00a0💥~"}`},
		"idempotencyKey with U+0000":          {`{jobName: a, idempotencyKey: "\0"}`, refusal{"spec.idempotencyKey", control}},
		"batch id with U+0000":                {`{jobName: a, batch: {id: "a\0", size: 1, leader: b}}`, refusal{"spec.batch.id", control}},
		"coalesce without concurrencyKey":     {`{jobName: a, coalesce: Skip}`, refusal{"spec.coalesce", "coalesce needs concurrencyKey"}},
		"coalesce with an idempotencyKey":     {`{jobName: a, idempotencyKey: i, coalesce: Skip}`, refusal{"spec.coalesce", "coalesce needs concurrencyKey"}},
		"coalesce of an unknown kind":         {`{jobName: a, concurrencyKey: k, coalesce: Merge}`, refusal{"spec.coalesce", `supported values: "Skip"`}},
		"coalesce empty":                      {`{jobName: a, concurrencyKey: k, coalesce: ""}`, refusal{"spec.coalesce", `supported values: "Skip"`}},
		"idempotencyTTLSeconds alone":         {`{jobName: a, idempotencyTTLSeconds: 60}`, refusal{"spec.idempotencyTTLSeconds", "idempotencyTTLSeconds needs idempotencyKey"}},
		"idempotencyRelease alone":            {`{jobName: a, idempotencyRelease: Never}`, refusal{"spec.idempotencyRelease", "idempotencyRelease needs idempotencyKey"}},
		"idempotencyRelease of another kind":  {`{jobName: a, idempotencyKey: i, idempotencyRelease: Always}`, refusal{"spec.idempotencyRelease", `supported values: "Never", "OnFailure"`}},
		"template without a Pod":              {`{jobName: a, template: {spec: {}}}`, refusal{"spec.template.spec.template", "Required value"}},
		"admission without disposition":       {`{jobName: a, admission: {runName: r, runToken: t, token: t}}`, refusal{"spec.admission.disposition", "Required value"}},
		"admission of an unknown disposition": {`{jobName: a, admission: {disposition: Merged, runName: r, runToken: t, token: t}}`, refusal{"spec.admission.disposition", `supported values: "Created", "Coalesced", "Idempotent"`}},
		"admission without runName":           {`{jobName: a, admission: {disposition: Created, runToken: t, token: t}}`, refusal{"spec.admission.runName", "Required value"}},
		"admission without runToken":          {`{jobName: a, admission: {disposition: Created, runName: r, token: t}}`, refusal{"spec.admission.runToken", "Required value"}},
		"admission without token":             {`{jobName: a, admission: {disposition: Created, runName: r, runToken: t}}`, refusal{"spec.admission.token", "Required value"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.want.check(t, newClient(t).Create(context.Background(), object(t, "JobRun", "spec: "+tc.spec)))
		})
	}
}

// representing returns a spec that represents several triggers, admitted for so many. rest are more fields.
func representing(represents string, admitted int, rest string) string {
	return fmt.Sprintf("{jobName: a, concurrencyKey: k, represents: %s, admission: {disposition: Created, runName: r, runToken: t, token: t, represents: %d}, %s}",
		represents, admitted, rest)
}

func TestJobRunRepresents(t *testing.T) {
	const (
		skip     = "coalesce: Skip"
		entry    = `{input: {org: acme}, time: "2026-01-02T03:04:05.000000Z", user: ann}`
		needs    = "represents needs coalesce, and takes neither idempotencyKey nor batch"
		admitted = "represents was not admitted: the operator's webhook did not answer, or is of an older version; send each trigger alone"
	)
	entries := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(entry+", ", n), ", ") + "]" }
	for name, tc := range map[string]struct {
		spec string
		want refusal
	}{
		"two":                      {spec: representing("{count: 2}", 2, skip)},
		"100,000":                  {spec: representing("{count: 100000, recent: "+entries(32)+"}", 100000, skip)},
		"an input is any JSON":     {spec: representing(`{count: 3, recent: [{input: "x", time: "2026-01-02T03:04:05.000000Z"}]}`, 3, skip)},
		"no count":                 {representing("{}", 2, skip), refusal{"spec.represents.count", "Required value"}},
		"one":                      {representing("{count: 1}", 2, skip), refusal{"spec.represents.count", "greater than or equal to 2"}},
		"100,001":                  {representing("{count: 100001}", 2, skip), refusal{"spec.represents.count", "less than or equal to 100000"}},
		"33 entries":               {representing("{count: 40, recent: "+entries(33)+"}", 40, skip), refusal{"spec.represents.recent", "must have at most 32 items"}},
		"an entry without a time":  {representing("{count: 2, recent: [{user: ann}]}", 2, skip), refusal{"spec.represents.recent[0].time", "Required value"}},
		"a time of whole seconds":  {representing(`{count: 2, recent: [{time: "2026-01-02T03:04:05Z"}]}`, 2, skip), refusal{"spec.represents.recent[0].time", "should match"}},
		"a user of 1,025":          {representing(`{count: 2, recent: [{time: "2026-01-02T03:04:05.000000Z", user: `+strings.Repeat("u", 1025)+`}]}`, 2, skip), refusal{"spec.represents.recent[0].user", "may not be more than 1024"}},
		"without coalesce":         {representing("{count: 2}", 2, "input: 1"), refusal{"spec.represents", needs}},
		"with an idempotencyKey":   {representing("{count: 2}", 2, skip+", idempotencyKey: i"), refusal{"spec.represents", needs}},
		"in a batch":               {representing("{count: 2}", 2, skip+", batch: {id: b, size: 1, leader: b}"), refusal{"spec.represents", needs}},
		"admitted for another":     {representing("{count: 3}", 2, skip), refusal{"spec.represents", admitted}},
		"without the webhook":      {`{jobName: a, concurrencyKey: k, coalesce: Skip, represents: {count: 2}}`, refusal{"spec.represents", admitted}},
		"by a webhook that is old": {`{jobName: a, concurrencyKey: k, coalesce: Skip, represents: {count: 2}, admission: {disposition: Created, runName: r, runToken: t, token: t}}`, refusal{"spec.represents", admitted}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.want.check(t, newClient(t).Create(context.Background(), object(t, "JobRun", "spec: "+tc.spec)))
		})
	}
	stored, want := "spec: "+representing("{count: 2}", 2, skip), refusal{"spec.represents", "represents" + isImmutable}
	testUpdate(t, "represents removed", stored, "spec: {represents: null}", want)
	testUpdate(t, "represents unchanged", stored, "{metadata: {labels: {a: b}}}", refusal{})
}

func TestJobRunName(t *testing.T) {
	template := `, template: {spec: {template: {spec: ` + podSpec + `}}}`
	long := strings.Repeat("a", v1alpha1.MaxTemplateRunName)
	// The schema has no property for the name, so a rule cannot name it as its field.
	tooLong := refusal{"<nil>", "metadata.name must have at most 52 characters when a Job executes the run"}
	for name, tc := range map[string]struct {
		name, template string
		want           refusal
	}{
		"as long as a template allows": {name: long, template: template},
		"too long for a template":      {name: long + "b", template: template, want: tooLong},
		"60 characters, a template":    {name: strings.Repeat("c", 60), template: template, want: tooLong},
		"253 characters, no template":  {name: strings.Repeat("d", 253)},
		"too long, a defined template": {name: long + "e", template: admittedFor("Job"), want: tooLong},
		"253 characters, for a worker": {name: strings.Repeat("f", 253), template: admittedFor("Worker")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := object(t, "JobRun", `{metadata: {name: `+tc.name+`}, spec: {jobName: a`+tc.template+`}}`)
			tc.want.check(t, newClient(t).Create(context.Background(), run))
		})
	}
}

// admittedFor returns a spec.admission that says what executes the run.
func admittedFor(executor string) string {
	return ", admission: {disposition: Created, runName: a, runToken: t, token: t, executor: " + executor + "}"
}

// isImmutable ends the refusal of a changed field.
const isImmutable = " is immutable: a JobRun is one execution; for another one, use a new name or metadata.generateName"

func TestJobRunSpecIsImmutable(t *testing.T) {
	const (
		template  = `{spec: {template: {spec: ` + podSpec + `}}}`
		admission = `{disposition: Created, runName: r, runToken: t, token: t}`
	)
	for field, tc := range map[string]struct {
		value, other string
		message      string
	}{
		"concurrencyKey":          {"k", "l", "concurrencyKey" + isImmutable},
		"idempotencyKey":          {"k", "l", "idempotencyKey" + isImmutable},
		"leaseDurationSeconds":    {"30", "31", "leaseDurationSeconds" + isImmutable},
		"ttlSecondsAfterFinished": {"0", "1", "ttlSecondsAfterFinished" + isImmutable},
		"admission":               {admission, `{runName: s}`, "admission is written by the webhook alone"},
		"template":                {value: template, message: "template" + isImmutable}, // the webhook compares its content
	} {
		with, without := fmt.Sprintf("spec: {jobName: a, %s: %s}", field, tc.value), "spec: {jobName: a}"
		want := refusal{"spec." + field, tc.message}
		testUpdate(t, field+" added", without, with, want)
		testUpdate(t, field+" removed", with, "spec: {"+field+": null}", want)
		testUpdate(t, field+" unchanged", with, "{metadata: {labels: {a: b}}, "+with+"}", refusal{})
		if tc.other != "" {
			testUpdate(t, field+" changed", with, "spec: {"+field+": "+tc.other+"}", want)
		}
	}

	for field, values := range map[string][]string{"idempotencyTTLSeconds": {"60", "61"}, "idempotencyRelease": {"Never", "OnFailure"}} {
		with, without := fmt.Sprintf("spec: {jobName: a, idempotencyKey: i, %s: %s}", field, values[0]), "spec: {jobName: a, idempotencyKey: i}"
		want := refusal{"spec." + field, field + isImmutable}
		testUpdate(t, field+" added", without, with, want)
		testUpdate(t, field+" removed", with, "spec: {"+field+": null}", want)
		testUpdate(t, field+" changed", with, "spec: {"+field+": "+values[1]+"}", want)
		testUpdate(t, field+" unchanged", with, "{metadata: {labels: {a: b}}, "+with+"}", refusal{})
	}

	want := refusal{"spec.jobName", "jobName" + isImmutable}
	testUpdate(t, "jobName changed", "spec: {jobName: a}", "spec: {jobName: b}", want)
	testUpdate(t, "jobName removed", "spec: {jobName: a}", "spec: {jobName: null}", refusal{"spec.jobName", "Required value"})
	testUpdate(t, "jobName unchanged", "spec: {jobName: a}", "{metadata: {labels: {a: b}}}", refusal{})

	want = refusal{"spec.coalesce", "coalesce" + isImmutable}
	testUpdate(t, "coalesce added", "spec: {jobName: a, concurrencyKey: k}", "spec: {coalesce: Skip}", want)
	testUpdate(t, "coalesce removed", "spec: {jobName: a, concurrencyKey: k, coalesce: Skip}", "spec: {coalesce: null}", want)

	// The webhook sets it in every JobRun, and restores it. The API server alone refuses to add and to remove it.
	want = refusal{"spec.maxAttempts", "maxAttempts" + isImmutable}
	testUpdate(t, "maxAttempts changed", "spec: {jobName: a, maxAttempts: 5}", "spec: {maxAttempts: 6}", want)
	testUpdate(t, "maxAttempts removed", "spec: {jobName: a, maxAttempts: 5}", "spec: {maxAttempts: null}", want)
	testUpdate(t, "maxAttempts added", "spec: {jobName: a}", "spec: {maxAttempts: 3}", want)
	testUpdate(t, "maxAttempts left out", "spec: {jobName: a}", "spec: {maxAttempts: null}", refusal{})

	want = refusal{"spec.onLeaseExpired", "onLeaseExpired" + isImmutable}
	testUpdate(t, "onLeaseExpired changed", "spec: {jobName: a}", "spec: {onLeaseExpired: Requeue}", want)
	testUpdate(t, "onLeaseExpired removed", "spec: {jobName: a, onLeaseExpired: Requeue}", "spec: {onLeaseExpired: null}", want)

	want = refusal{"spec.onJobLost", "onJobLost" + isImmutable}
	testUpdate(t, "onJobLost changed", "spec: {jobName: a}", "spec: {onJobLost: Fail}", want)
	testUpdate(t, "onJobLost removed", "spec: {jobName: a, onJobLost: Fail}", "spec: {onJobLost: null}", want)
}

func TestJobRunCancel(t *testing.T) {
	want := refusal{"spec.cancel", "a cancelled run stays cancelled; for another execution, use a new name or metadata.generateName"}
	testUpdate(t, "set", "spec: {jobName: a}", "spec: {cancel: true}", refusal{})
	testUpdate(t, "false to true", "spec: {jobName: a, cancel: false}", "spec: {cancel: true}", refusal{})
	testUpdate(t, "false to none", "spec: {jobName: a, cancel: false}", "spec: {cancel: null}", refusal{})
	testUpdate(t, "true to false", "spec: {jobName: a, cancel: true}", "spec: {cancel: false}", want)
	testUpdate(t, "true to none", "spec: {jobName: a, cancel: true}", "spec: {cancel: null}", want)
	testUpdate(t, "true to true", "spec: {jobName: a, cancel: true}", "{metadata: {labels: {a: b}}}", refusal{})
}

func testUpdate(t *testing.T, name, before, change string, want refusal) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		want.check(t, patch(t, create(t, "JobRun", before), change))
	})
}

// The schema has no defaults for the spec: they would hide from the webhook what a trigger set.
func TestJobRunDefaults(t *testing.T) {
	run := create(t, "JobRun", "spec: {jobName: a, concurrencyKey: k}")
	want := map[string]any{"jobName": "a", "concurrencyKey": "k"}
	if diff := cmp.Diff(want, run.Object["spec"]); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	wantStatus(t, "default", run, unwritten)
}

func TestJobRunInputIsAnyJSON(t *testing.T) {
	for _, input := range []string{`"text"`, `5`, `1.5`, `true`, `false`, `[]`, `[1,{"a":[null]}]`, `{}`, `{"a":{"b":null},"c":""}`} {
		t.Run(input, func(t *testing.T) {
			t.Parallel()
			run := typed(t, create(t, "JobRun", "spec: {jobName: a, input: "+input+"}"))
			if run.Spec.Input == nil || string(run.Spec.Input.Raw) != input {
				t.Errorf("input = %v, want %s", run.Spec.Input, input)
			}
		})
	}
	t.Run("null", func(t *testing.T) {
		t.Parallel()
		if run := typed(t, create(t, "JobRun", "spec: {jobName: a, input: null}")); run.Spec.Input != nil {
			t.Errorf("input = %s, want none", run.Spec.Input.Raw)
		}
	})
}

func TestJobRunTemplateIsKeptWhole(t *testing.T) {
	const template = `{"metadata":{"labels":{"kueue.x-k8s.io/queue-name":"q"},"annotations":{"a":"b"}},
		"spec":{"suspend":true,"backoffLimit":0,"ttlSecondsAfterFinished":5,
			"podFailurePolicy":{"rules":[{"action":"FailJob","onExitCodes":{"operator":"In","values":[3]}}]},
			"template":{"metadata":{"labels":{"app":"x"},"annotations":{"c":"d"}},
				"spec":{"restartPolicy":"Never","containers":[{"name":"main","image":"busybox","command":["true"],
					"resources":{"requests":{"cpu":"1000m"}},"env":[{"name":"A","value":"b"}]}]}}}}`
	var want batchv1.JobTemplateSpec
	if err := json.Unmarshal([]byte(template), &want); err != nil {
		t.Fatal(err)
	}
	run := typed(t, create(t, "JobRun", "spec: {jobName: a, template: "+strings.ReplaceAll(template, "\t", "")+"}"))
	if got := run.Spec.Template; got == nil || !equality.Semantic.DeepEqual(want, *got) {
		t.Errorf("template (-want +got):\n%s", cmp.Diff(&want, got))
	}
}

// A typed client that updates a label also renders the spec anew. The API server must accept that.
func TestJobRunTypedUpdate(t *testing.T) {
	run := typed(t, create(t, "JobRun", `spec: {jobName: a, input: {b: [1, null]}, concurrencyKey: k, coalesce: Skip, cancel: false,
		ttlSecondsAfterFinished: 0, admission: {disposition: Created, runName: r, runToken: t, token: t},
		template: {metadata: {labels: {a: b}}, spec: {template: {spec: {restartPolicy: Never,
			containers: [{name: main, image: busybox, resources: {requests: {cpu: 1000m}}}]}}}}}`))
	run.Labels = map[string]string{"a": "b"}
	if err := newClient(t).Update(context.Background(), run); err != nil {
		t.Errorf("update a label: %v", err)
	}
}

// typed reads the object and returns it as a JobRun.
func typed(t *testing.T, o client.Object) *v1alpha1.JobRun {
	t.Helper()
	run := &v1alpha1.JobRun{}
	if err := newClient(t).Get(context.Background(), client.ObjectKeyFromObject(o), run); err != nil {
		t.Fatal(err)
	}
	return run
}
