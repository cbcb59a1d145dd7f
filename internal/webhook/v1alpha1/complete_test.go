// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// definitionOf returns a stored JobDefinition with this spec.
func definitionOf(t testing.TB, name, spec string) *v1alpha1.JobDefinition {
	t.Helper()
	d := &v1alpha1.JobDefinition{}
	if err := yaml.UnmarshalStrict([]byte("spec:\n"+indented(spec)), d); err != nil {
		t.Fatal(err)
	}
	d.Namespace, d.Name, d.UID, d.Generation = wrappers.Namespace, name, types.UID("uid-"+name), 4
	return d
}

func indented(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

const (
	syncUsers = "inputSchema: {openAPIV3Schema: {type: object, required: [org], properties: {org: {type: string, maxLength: 40}, full: {type: boolean, default: false}}}}\n" +
		"concurrencyKeyExpression: '\"org_\" + input.org'\n" +
		"defaults: {coalesce: Skip, maxAttempts: 7, ttlSecondsAfterFinished: 0}\n" +
		"overridable: [activeDeadlineSeconds]\n"
	definedTemplate = "template: {spec: {template: {spec: " + onePod + "}}}"
	defined         = "metadata: {name: b}\nspec: {jobName: sync-users, input: {org: acme}}\n"
)

// withDefinitions returns a replica whose cache and API server have these definitions.
func withDefinitions(t testing.TB, cached, live []client.Object, changes ...func(*webhook.Options)) replica {
	t.Helper()
	var fields []wrappers.Index
	for _, f := range cache.Fields {
		fields = append(fields, wrappers.Index(f))
	}
	known, stored := wrappers.NewStore(fields, cached...), wrappers.NewStore(fields, live...)
	use := func(o *webhook.Options) { o.Definitions = known }
	return newReplicaOn(t, tokens("token-b"), known, stored, append([]func(*webhook.Options){use}, changes...)...)
}

func deny(o *webhook.Options) { o.DenyUndefined = true }

// A trigger is stored as its definition completes it, whether the cache knows the definition or the API server alone, and a dry
// run shows the same.
func TestCreateCompletes(t *testing.T) {
	definition := definitionOf(t, "sync-users", syncUsers+definedTemplate)
	for name, cached := range map[string][]client.Object{"cached": {definition}, "read live": nil} {
		for _, dry := range []bool{false, true} {
			r := withDefinitions(t, cached, []client.Object{definition})
			var changes []func(*admission.Request)
			if dry {
				changes = append(changes, dryRun)
			}
			response := r.create(t, defined, changes...)
			run, _ := admitted(t, defined, response)
			want := v1alpha1.JobRunSpec{}
			if err := yaml.Unmarshal([]byte(`{jobName: sync-users, input: {full: false, org: acme}, concurrencyKey: org_acme, coalesce: Skip, maxAttempts: 7,
				onLeaseExpired: Fail, onJobLost: Requeue, ttlSecondsAfterFinished: 0, admission: {disposition: Created, runName: b, runToken: token-b, token: token-b,
				executor: Job, definition: {name: sync-users, uid: uid-sync-users, generation: 4}}}`), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, run.Spec); diff != "" {
				t.Errorf("%s, dry run %t (-want +got):\n%s", name, dry, diff)
			}
			wantLabels := map[string]string{
				v1alpha1.LabelJobName: "sync-users", v1alpha1.LabelDisposition: "created", v1alpha1.LabelExecutor: "job",
				v1alpha1.LabelKey: v1alpha1.ConcurrencyKeyName("sync-users", "org_acme"),
			}
			if diff := cmp.Diff(wantLabels, run.Labels); diff != "" {
				t.Errorf("%s, dry run %t: labels (-want +got):\n%s", name, dry, diff)
			}
			if len(response.Warnings) > 0 || dry && len(r.live.Writes()) > 0 {
				t.Errorf("%s, dry run %t: warns %v, writes %v", name, dry, response.Warnings, r.live.Writes())
			}
		}
	}
}

// The stored JobRun, sent again under another name, is completed to the same.
func TestCreateCompletesTheCompleted(t *testing.T) {
	definition := definitionOf(t, "sync-users", syncUsers)
	r := withDefinitions(t, []client.Object{definition}, nil)
	first, raw := admitted(t, defined, r.create(t, defined))
	text, err := yaml.JSONToYAML(raw)
	if err != nil {
		t.Fatal(err)
	}
	response := withDefinitions(t, []client.Object{definition}, nil).create(t, string(text))
	second, _ := admitted(t, string(text), response)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	for _, op := range response.Patches {
		if op.Path != "/spec/admission" {
			t.Errorf("patches %s", op.Path)
		}
	}
}

// Who executes the run decides its name's length and its label.
func TestCreateExecutor(t *testing.T) {
	tests := map[string]struct{ definition, rest, want string }{
		"a definition with a template":                   {"description: x\n" + definedTemplate, "", "Job"},
		"a definition without one":                       {"description: x", "", "Worker"},
		"a definition without one, the trigger has one":  {"description: x", ", " + definedTemplate, "Job"},
		"no definition, a template":                      {"", ", " + definedTemplate, "Job"},
		"no definition, no template":                     {"", "", "Worker"},
		"no definition, no template, a forged admission": {"", ", admission: {executor: Job, definition: {name: x, uid: u, generation: 1}}", "Worker"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var definitions []client.Object
			if tc.definition != "" {
				definitions = append(definitions, definitionOf(t, "job", tc.definition))
			}
			manifest := "metadata: {generateName: " + strings.Repeat("n", 60) + "}\nspec: {jobName: job" + tc.rest + "}\n"
			run, _ := admitted(t, manifest, withDefinitions(t, definitions, definitions).create(t, manifest))
			if run.Spec.Admission.Executor != v1alpha1.Executor(tc.want) || run.Labels[v1alpha1.LabelExecutor] != strings.ToLower(tc.want) {
				t.Errorf("executor %s, label %s", run.Spec.Admission.Executor, run.Labels[v1alpha1.LabelExecutor])
			}
			if (len(run.Name) <= 52) != (tc.want == "Job") {
				t.Errorf("the name has %d characters", len(run.Name))
			}
			if (run.Spec.Admission.Definition != nil) != (tc.definition != "") {
				t.Errorf("definition %v", run.Spec.Admission.Definition)
			}
			named := strings.Replace(manifest, "generateName", "name", 1)
			if refused := !withDefinitions(t, definitions, definitions).create(t, named).Allowed; refused != (tc.want == "Job") {
				t.Errorf("a name of 60 characters: refused %t", refused)
			}
		})
	}
}

// Each trigger that its definition does not allow is refused with every field, and takes no key.
func TestCreateRefusesByDefinition(t *testing.T) {
	tests := map[string]struct {
		definition, spec string
		fields           []string
		says             string
	}{
		"a wrong input": {syncUsers, "input: {org: 5, x: 1, full: z}", []string{"spec.input.full", "spec.input.org", "spec.input.x"}, ""},
		"no input":      {syncUsers, "cancel: false", []string{"spec.input.org"}, "spec.input.org: Required value"},
		"another key":   {syncUsers, "input: {org: a}, concurrencyKey: k", []string{"spec.concurrencyKey"}, `gives "org_a"`},
		"an empty key":  {syncUsers, "input: {org: a}, concurrencyKey: ''", []string{"spec.concurrencyKey"}, "at least 1"},
		"another value": {syncUsers, "input: {org: a}, maxAttempts: 3", []string{"spec.maxAttempts"}, "sets it to 7"},
		"a value of 0":  {syncUsers, "input: {org: a}, maxAttempts: 0", []string{"spec.maxAttempts"}, "greater than or equal to 1"},
		"two templates": {syncUsers + definedTemplate, "input: {org: a}, " + definedTemplate, []string{"spec.template"}, "JobDefinition sync-users"},
		"a bad input and a bad field of the API": {
			syncUsers, "input: {}, activeDeadlineSeconds: -1", []string{"spec.activeDeadlineSeconds", "spec.input.org"}, "",
		},
		"an empty key by the expression": {"concurrencyKeyExpression: input.k", "input: {k: ''}", []string{"spec.concurrencyKey"}, "concurrencyKeyExpression"},
		"an input that is too large":     {syncUsers, "input: {org: " + strings.Repeat("x", 64<<10) + "}", []string{"spec.input"}, "Too long"},
		"a definition that does not compile": {
			"concurrencyKeyExpression: input +", "input: {}", []string{"spec.jobName"}, "JobDefinition sync-users is not valid: spec.concurrencyKeyExpression",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := withDefinitions(t, []client.Object{definitionOf(t, "sync-users", tc.definition)}, nil)
			response := r.create(t, "metadata: {name: b}\nspec: {jobName: sync-users, "+tc.spec+"}\n")
			if response.Allowed || response.Result.Code != http.StatusUnprocessableEntity {
				t.Fatalf("got %+v", response.Result)
			}
			if diff := cmp.Diff(tc.fields, causes(response)); diff != "" {
				t.Errorf("fields (-want +got):\n%s%s", diff, response.Result.Message)
			}
			if !strings.Contains(response.Result.Message, tc.says) {
				t.Errorf("%q does not say %q", response.Result.Message, tc.says)
			}
			if writes := r.live.Writes(); len(writes) > 0 {
				t.Errorf("wrote %v", writes)
			}
		})
	}
}

// causes returns the fields of a refusal, sorted and once each.
func causes(response admission.Response) []string {
	var fields []string
	for _, cause := range response.Result.Details.Causes {
		fields = append(fields, cause.Field)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

func TestCreateByDefinitionThatIsNotReady(t *testing.T) {
	definition := definitionOf(t, "sync-users", "description: x")
	definition.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionDefinitionReady, Status: metav1.ConditionFalse, ObservedGeneration: 4, Message: "schedule nightly: unknown time zone",
	}}
	create := func() admission.Response {
		return withDefinitions(t, []client.Object{definition}, nil).create(t, defined)
	}
	if response := create(); response.Allowed || !strings.Contains(response.Result.Message, "unknown time zone") || causes(response)[0] != "spec.jobName" {
		t.Errorf("got %+v", response.Result)
	}
	definition.Generation++ // The condition is about the generation before.
	if response := create(); !response.Allowed {
		t.Errorf("got %+v", response.Result)
	}
}

func TestCreateOfUndefinedJobs(t *testing.T) {
	others := []client.Object{definitionOf(t, "sync-orders", "description: x"), definitionOf(t, "sync-users", "description: x")}
	deleted := definitionOf(t, "sync-user", "description: x")
	deleted.Finalizers, deleted.DeletionTimestamp = []string{"x/y"}, &metav1.Time{Time: wrappers.Epoch.Time}
	inline := "metadata: {name: b}\nspec: {jobName: sync-user, " + definedTemplate + "}\n"
	const plain = "metadata: {name: b}\nspec: {jobName: sync-user}\n"
	tests := map[string]struct {
		manifest string
		stored   []client.Object
		change   func(*webhook.Options)
		refused  bool
		warning  string
	}{
		"no definitions":                        {manifest: plain},
		"others are defined":                    {manifest: plain, stored: others, warning: `job "sync-user" has no JobDefinition, so the run waits for an external worker; the nearest defined job is "sync-users"`},
		"others are defined, an inline trigger": {manifest: inline, stored: others},
		"it is being deleted":                   {manifest: plain, stored: []client.Object{deleted}},
		"denied":                                {manifest: plain, change: deny, refused: true},
		"denied, others are defined":            {manifest: plain, stored: others, change: deny, refused: true},
		"denied, an inline trigger":             {manifest: inline, change: deny},
		"denied, it is being deleted":           {manifest: plain, stored: []client.Object{deleted}, change: deny, refused: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			changes := []func(*webhook.Options){}
			if tc.change != nil {
				changes = append(changes, tc.change)
			}
			response := withDefinitions(t, tc.stored, tc.stored, changes...).create(t, tc.manifest)
			if tc.refused {
				if response.Allowed || !strings.Contains(response.Result.Message, `spec.jobName: Not found: "sync-user"`) {
					t.Errorf("got %+v", response.Result)
				}
				return
			}
			run, _ := admitted(t, tc.manifest, response)
			if run.Spec.Admission.Definition != nil {
				t.Errorf("definition %v", run.Spec.Admission.Definition)
			}
			if got := strings.Join(response.Warnings, "\n"); got != tc.warning {
				t.Errorf("warns %q, want %q", got, tc.warning)
			}
		})
	}
}

// Of a flood of inline triggers of an undefined job, one in a second reads live. A trigger without a template always does: its
// definition may have been created just before.
func TestCreateReadsDefinitionsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := withDefinitions(t, nil, nil)
		reads := 0
		r.live.Read = func(_ client.ObjectKey, o client.Object) error {
			if _, ok := o.(*v1alpha1.JobDefinition); ok {
				reads++
			}
			return nil
		}
		expect := func(what string, want int, manifest string) {
			t.Helper()
			reads = 0
			for range 5 {
				admitted(t, manifest, r.create(t, manifest, dryRun))
			}
			if reads != want {
				t.Errorf("%s: %d reads, want %d", what, reads, want)
			}
		}
		inline := withTemplate("b", onePod)
		expect("inline", 1, inline)
		expect("without a template", 5, plain)
		expect("inline within a second", 0, inline)
		time.Sleep(time.Second + time.Millisecond)
		expect("inline after a second", 1, inline)
		if err := r.live.Create(context.Background(), definitionOf(t, "job", "concurrencyKeyExpression: '\"k\"'")); err != nil {
			t.Fatal(err)
		}
		run, _ := admitted(t, plain, r.create(t, plain, dryRun))
		if run.Spec.Admission.Definition == nil {
			t.Error("the new definition was not found")
		}
	})
}

// Without an answer about the definition, there is none about the trigger.
func TestCreateThatCannotReadTheDefinition(t *testing.T) {
	r := withDefinitions(t, nil, nil)
	r.live.Read = func(_ client.ObjectKey, o client.Object) error {
		if _, ok := o.(*v1alpha1.JobDefinition); ok {
			return errors.New("down")
		}
		return nil
	}
	response := r.create(t, plain)
	if response.Allowed || response.Result.Code != http.StatusServiceUnavailable || !strings.Contains(response.Result.Message, "down") {
		t.Errorf("got %+v", response.Result)
	}
	if writes := r.live.Writes(); len(writes) > 0 {
		t.Errorf("wrote %v", writes)
	}
}

// An older replica would take the run of a definition for a worker's. While there is one, such a trigger is refused, and nothing is
// reserved. Triggers of undefined jobs are admitted.
func TestCreateWaitsForOlderReplicas(t *testing.T) {
	defines := false
	older := func(o *webhook.Options) { o.Defines = func() bool { return defines } }
	definition := definitionOf(t, "sync-users", syncUsers)
	for name, cached := range map[string][]client.Object{"cached": {definition}, "read live": nil} {
		defines = false
		r := withDefinitions(t, cached, []client.Object{definition}, older)
		for _, manifest := range []string{defined, "metadata: {name: b}\nspec: {jobName: sync-users, input: {org: a}, " + definedTemplate + "}\n"} {
			response := r.create(t, manifest)
			if response.Allowed || response.Result.Code != http.StatusServiceUnavailable {
				t.Fatalf("%s: got %+v", name, response.Result)
			}
			want := "JobDefinition sync-users cannot complete the trigger yet: a replica of the operator is of an older version, " +
				"and would take the run for a worker's; nothing is reserved; try again when the upgrade has ended"
			if response.Result.Message != want {
				t.Errorf("%s: says %q", name, response.Result.Message)
			}
		}
		if writes := r.live.Writes(); len(writes) > 0 {
			t.Errorf("%s: wrote %v", name, writes)
		}
		if response := r.create(t, plain, dryRun); !response.Allowed {
			t.Errorf("%s: an undefined job: %+v", name, response.Result)
		}
		defines = true
		if response := r.create(t, defined); !response.Allowed {
			t.Errorf("%s: without older replicas: %+v", name, response.Result)
		}
	}
}

// A definition that has changed completes by what it says now.
func TestCreateFollowsGenerations(t *testing.T) {
	definition := definitionOf(t, "job", "concurrencyKeyExpression: '\"old\"'")
	const manifest = "metadata: {name: b}\nspec: {jobName: job}\n"
	r := withDefinitions(t, []client.Object{definition}, nil)
	for _, want := range []string{"old", "new"} {
		for range 2 {
			run, _ := admitted(t, manifest, r.create(t, manifest, dryRun))
			if run.Spec.ConcurrencyKey != want || run.Spec.Admission.Definition.Generation != definition.Generation {
				t.Errorf("got %s of %v, want %s", run.Spec.ConcurrencyKey, run.Spec.Admission.Definition, want)
			}
		}
		definition.Spec.ConcurrencyKeyExpression = `"new"`
		definition.Generation++
		if err := r.store.Update(context.Background(), definition); err != nil {
			t.Fatal(err)
		}
	}
}
