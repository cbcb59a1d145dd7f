// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// replica is one webhook with a model of the API server and an up-to-date cache.
type replica struct {
	*webhook.Handler
	// store is what the cache shows. live is what the API server has. They are the same, but in replicas of newReplicaWith.
	store, live *wrappers.Store
}

func newReplica(t testing.TB, stored ...client.Object) replica {
	t.Helper()
	return newReplicaOf(t, tokens("token-b", "token-b-2"), stored...)
}

func newReplicaOf(t testing.TB, newToken func() string, stored ...client.Object) replica {
	t.Helper()
	var fields []wrappers.Index
	for _, f := range cache.Fields {
		fields = append(fields, wrappers.Index(f))
	}
	store := wrappers.NewStore(fields, stored...)
	return newReplicaOn(t, newToken, store, store)
}

// newReplicaWith is newReplicaOf with a cache that differs from what is stored.
func newReplicaWith(t testing.TB, newToken func() string, cached, stored []client.Object) replica {
	t.Helper()
	return newReplicaOn(t, newToken, wrappers.NewStore(nil, cached...), wrappers.NewStore(nil, stored...))
}

func newReplicaOn(t testing.TB, newToken func() string, cached, live *wrappers.Store, changes ...func(*webhook.Options)) replica {
	t.Helper()
	options := webhook.Options{
		Keys: keystore.New(keystore.Options{
			Cached: cached, Live: live, Writer: live, Clock: clocktesting.NewFakePassiveClock(wrappers.Epoch.Time),
		}),
		Cached:           cached,
		Live:             live,
		Quotas:           cached,
		ReservationGrace: 5 * time.Second,
		NewToken:         newToken,
	}
	for _, change := range changes {
		change(&options)
	}
	handler, err := webhook.NewHandler(options)
	if err != nil {
		t.Fatal(err)
	}
	return replica{handler, cached, live}
}

// tokens returns a function that returns the given tokens in order, and then repeats the last one.
func tokens(all ...string) func() string {
	return func() string {
		next := all[0]
		all = all[min(1, len(all)-1):]
		return next
	}
}

// create sends the webhook an admission request for a manifest. The API server would have pruned and defaulted it.
func (r replica) create(t *testing.T, manifest string, changes ...func(*admission.Request)) admission.Response {
	t.Helper()
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: uuid.NewUUID(), Operation: admissionv1.Create, Namespace: wrappers.Namespace, Object: runtime.RawExtension{Raw: toJSON(t, manifest)},
	}}
	for _, change := range changes {
		change(&req)
	}
	return r.Handle(context.Background(), req)
}

// nested returns arrays of so many levels.
func nested(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}

func toJSON(t *testing.T, manifest string) []byte {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte("apiVersion: batch.jobrun.dev/v1alpha1\nkind: JobRun\n" + manifest))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func dryRun(req *admission.Request) {
	yes := true
	req.DryRun = &yes
}

// admitted returns the object after the patch of the response.
func admitted(t *testing.T, manifest string, response admission.Response) (*v1alpha1.JobRun, []byte) {
	t.Helper()
	if !response.Allowed {
		t.Fatalf("refused: %+v", response.Result)
	}
	ops, err := json.Marshal(response.Patches)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := patch.Apply(toJSON(t, manifest))
	if err != nil {
		t.Fatalf("apply %s: %v", ops, err)
	}
	run := &v1alpha1.JobRun{}
	if err := json.Unmarshal(raw, run); err != nil {
		t.Fatal(err)
	}
	return run, raw
}

const (
	plain   = "metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k}\n"
	skips   = "metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, coalesce: Skip}\n"
	repeats = "metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, idempotencyKey: i, input: {org: acme}}\n"
)

// withTemplate returns a manifest of a run with that name and that Pod spec.
func withTemplate(name, pod string) string {
	return fmt.Sprintf("metadata: {name: %s}\nspec: {jobName: job, concurrencyKey: k, template: {spec: {template: {spec: %s}}}}\n", name, pod)
}

const onePod = "{restartPolicy: Never, containers: [{name: main, image: busybox}]}"

// Each bad input is refused with an error that names the field, and no key stays reserved.
func TestCreateBadInput(t *testing.T) {
	spec := func(rest string) string { return "metadata: {name: b}\nspec: {" + rest + "}\n" }
	pod := func(rest string) string { return withTemplate("b", "{restartPolicy: Never, "+rest+"}") }
	container := func(rest string) string { return pod("containers: [{name: a, image: x" + rest + "}]") }
	ofPod := "spec.template.spec.template.spec."
	containers := ofPod + "containers"
	for name, tc := range map[string]struct{ manifest, field string }{
		"no jobName":                      {spec("concurrencyKey: k"), "spec.jobName"},
		"an empty jobName":                {spec("jobName: '', concurrencyKey: k"), "spec.jobName"},
		"a jobName that is no DNS label":  {spec("jobName: Sync_Users, concurrencyKey: k"), "spec.jobName"},
		"a jobName with a dot":            {spec("jobName: sync.users, concurrencyKey: k"), "spec.jobName"},
		"a jobName that is too long":      {spec("concurrencyKey: k, jobName: " + strings.Repeat("j", 64)), "spec.jobName"},
		"a jobName that is a number":      {spec("jobName: 5, concurrencyKey: k"), "spec.jobName"},
		"unknown coalesce":                {spec("jobName: job, concurrencyKey: k, coalesce: Replace"), "spec.coalesce"},
		"an empty coalesce":               {spec("jobName: job, concurrencyKey: k, coalesce: ''"), "spec.coalesce"},
		"a key that is too long":          {spec("jobName: job, concurrencyKey: " + strings.Repeat("k", 5000)), "spec.concurrencyKey"},
		"a key that is a number":          {spec("jobName: job, concurrencyKey: 5"), "spec.concurrencyKey"},
		"a key with U+0000":               {spec(`jobName: job, concurrencyKey: "a\0"`), "spec.concurrencyKey"},
		"an idempotencyKey with U+0000":   {spec(`jobName: job, concurrencyKey: k, idempotencyKey: "a\0"`), "spec.idempotencyKey"},
		"an empty idempotencyKey":         {spec("jobName: job, concurrencyKey: k, idempotencyKey: ''"), "spec.idempotencyKey"},
		"an idempotencyKey too long":      {spec("jobName: job, concurrencyKey: k, idempotencyKey: " + strings.Repeat("k", 257)), "spec.idempotencyKey"},
		"1 MiB of input":                  {spec("jobName: job, concurrencyKey: k, input: " + strings.Repeat("x", 1<<20)), "spec.input"},
		"input a byte too long":           {spec("jobName: job, concurrencyKey: k, input: " + strings.Repeat("x", 64<<10-1)), "spec.input"},
		"input of 65 levels":              {spec("jobName: job, concurrencyKey: k, input: " + nested(65)), "spec.input"},
		"input of 65 levels, no key":      {spec("jobName: job, input: {a: " + nested(64) + "}"), "spec.input"},
		"a lease of no time":              {spec("jobName: job, concurrencyKey: k, leaseDurationSeconds: 0"), "spec.leaseDurationSeconds"},
		"a lease of more than a day":      {spec("jobName: job, concurrencyKey: k, leaseDurationSeconds: 86401"), "spec.leaseDurationSeconds"},
		"no attempts":                     {spec("jobName: job, concurrencyKey: k, maxAttempts: 0"), "spec.maxAttempts"},
		"too many attempts":               {spec("jobName: job, concurrencyKey: k, maxAttempts: 1001"), "spec.maxAttempts"},
		"a negative ttl":                  {spec("jobName: job, concurrencyKey: k, ttlSecondsAfterFinished: -1"), "spec.ttlSecondsAfterFinished"},
		"no name":                         {"metadata: {}\nspec: {jobName: job, concurrencyKey: k}\n", "metadata.name"},
		"no spec":                         {"metadata: {name: b}\n", "spec"},
		"an invalid name":                 {"metadata: {name: A_b}\nspec: {jobName: job, concurrencyKey: k}\n", "metadata.name"},
		"an invalid generateName":         {"metadata: {generateName: A_b}\nspec: {jobName: job, concurrencyKey: k}\n", "metadata.name"},
		"an invalid label":                {"metadata: {name: b, labels: {x: 'a b'}}\nspec: {jobName: job, concurrencyKey: k}\n", "metadata.labels"},
		"labels of more than 16 KiB":      {"metadata: {name: b, labels: " + labelsOf(16<<10+1) + "}\nspec: {jobName: job, concurrencyKey: k}\n", "metadata.labels"},
		"a 60-character name, a template": {withTemplate(strings.Repeat("n", 60), onePod), "metadata.name"},
		"a 53-character name, a template": {withTemplate(strings.Repeat("n", 53), onePod), "metadata.name"},
		"no container":                    {pod("containers: []"), containers},
		"a container without name":        {pod("containers: [{image: x}]"), containers + "[0].name"},
		"a bad container name":            {pod("containers: [{name: Main!, image: x}]"), containers + "[0].name"},
		"two containers of one name":      {pod("containers: [{name: a, image: x}, {name: a, image: z}]"), containers + "[1]"},
		"one name in both lists":          {pod("initContainers: [{name: a, image: x}], containers: [{name: a, image: z}]"), containers + "[0].name"},
		"a bad init container name":       {pod("initContainers: [{name: A, image: x}], containers: [{name: a, image: z}]"), ofPod + "initContainers[0].name"},
		"a container without image":       {pod("containers: [{name: a}]"), containers + "[0].image"},
		"no restartPolicy":                {withTemplate("b", "{containers: [{name: a, image: x}]}"), ofPod + "restartPolicy"},
		"a template of 1 MiB":             {pod("containers: [{name: a, image: " + strings.Repeat("x", 1<<20) + "}]"), "spec"},
		"a template of many elements":     {container(", args: [" + strings.Repeat("a,", 10001) + "a]"), "spec.template"},
		"a limit with a long exponent":    {container(", resources: {limits: {cpu: '1e-999999999'}}"), containers + "[0].resources.limits[cpu]"},
		"a long exponent after a space":   {container(", resources: {limits: {cpu: ' 1e-999999999'}}"), containers + "[0].resources.limits[cpu]"},
		"a request with a long exponent":  {container(", resources: {requests: {memory: '+1.5E+100'}}"), containers + "[0].resources.requests[memory]"},
		"a limit of very many digits":     {container(", resources: {limits: {cpu: '" + strings.Repeat("1", 100) + "'}}"), containers + "[0].resources.limits[cpu]"},
		"a volume with a long exponent":   {pod("containers: [{name: a, image: x}], volumes: [{name: v, emptyDir: {sizeLimit: '1e999999999'}}]"), ofPod + "volumes[0].emptyDir.sizeLimit"},
		"a restartPolicy of no Job":       {withTemplate("b", "{restartPolicy: Always, containers: [{name: a, image: x}]}"), ofPod + "restartPolicy"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			response := r.create(t, tc.manifest)
			if response.Allowed || response.Result.Code != http.StatusUnprocessableEntity || response.Result.Reason != metav1.StatusReasonInvalid {
				t.Fatalf("allowed %t, %+v; want a 422", response.Allowed, response.Result)
			}
			named := slices.ContainsFunc(response.Result.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == tc.field })
			if !named {
				t.Errorf("want the field %s named, got %.300v", tc.field, response.Result.Details.Causes)
			}
			if writes := r.store.Writes(); len(writes) > 0 {
				t.Errorf("left taken: %v", writes)
			}
		})
	}
}

// labelsOf returns labels with some bytes of names and values.
func labelsOf(size int) string {
	var labels []string
	for i := 0; size > 0; i++ {
		name := fmt.Sprintf("l%07d", i)
		value := strings.Repeat("x", max(min(size-len(name), 56), 0))
		labels = append(labels, name+": '"+value+"'")
		size -= len(name) + len(value)
	}
	return "{" + strings.Join(labels, ", ") + "}"
}

func TestCreateAllowsLabelsUpToTheLimit(t *testing.T) {
	response := newReplica(t).create(t, "metadata: {name: b, labels: "+labelsOf(16<<10)+"}\nspec: {jobName: job, concurrencyKey: k}\n")
	if !response.Allowed {
		t.Errorf("%.300v", response.Result)
	}
}

// An error shows the value of a field, also if its type is a string with a name.
func TestCreateShowsTheBadValue(t *testing.T) {
	response := newReplica(t).create(t, withTemplate("b", "{restartPolicy: Always, containers: [{name: a, image: x}]}"))
	if want := `restartPolicy: Unsupported value: "Always": supported values: "Never", "OnFailure"`; !strings.Contains(response.Result.Message, want) {
		t.Errorf("got %s, want %s", response.Result.Message, want)
	}
}

// The API server calls the webhook before it checks the size of an update, so the webhook reads a large one only in part.
func TestChangesAreNotReadWhole(t *testing.T) {
	large := strings.Repeat("{},", 400<<10) + "{}"
	var endless []string
	for n := range 9000 {
		endless = append(endless, fmt.Sprintf(`"r%d": "1e999999999"`, n))
	}
	for name, tc := range map[string]struct {
		object string
		code   int32
	}{
		"a template":       {`{"metadata": {"name": "b"}, "spec": {"jobName": "job", "template": {"spec": {"template": {"spec": {"containers": [` + large + `]}}}}}}`, 422},
		"an exponent":      {`{"spec": {"jobName": "job", "template": {"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"memory": "e999999999"}}}]}}}}}}`, 422},
		"a signed one":     {`{"spec": {"jobName": "job", "template": {"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"memory": "+e999999999"}}}]}}}}}}`, 422},
		"many elements":    {`{"spec": {"jobName": "job", "template": {"spec": {"template": {"spec": {"containers": [` + strings.Repeat("{},", 10001) + `{}]}}}}}}`, 422},
		"many endless":     {`{"spec": {"jobName": "job", "template": {"spec": {"template": {"spec": {"overhead": {` + strings.Join(endless, ",") + `}}}}}}}`, 422},
		"no spec":          {`{"metadata": {"name": "b"}, "status": {"conditions": [` + large + `]}, "spec": 5}`, 422},
		"metadata, unread": {`{"metadata": {"name": "b", "managedFields": [` + large + `]}, "spec": {"jobName": "job"}}`, 0},
		"a status, unread": {`{"metadata": {"name": "b"}, "spec": {"jobName": "job"}, "status": {"conditions": [` + large + `]}}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			response := newReplica(t).Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: admissionv1.Update, Name: "b", Object: runtime.RawExtension{Raw: []byte(tc.object)},
				OldObject: runtime.RawExtension{Raw: []byte(`{"metadata": {"name": "b"}, "spec": {"jobName": "job"}}`)},
			}})
			if !response.Allowed && len(response.Result.Details.Causes) > 100 {
				t.Errorf("%d causes", len(response.Result.Details.Causes))
			}
			if response.Allowed != (tc.code == 0) || !response.Allowed && response.Result.Code != tc.code {
				t.Errorf("allowed %t, %.300v", response.Allowed, response.Result)
			}
		})
	}
}

// The answer to an invalid JobRun stays small, however many errors the JobRun has.
func TestCreateAnswersAreBounded(t *testing.T) {
	item := `{"labelSelector": {"matchExpressions": [{}]}}`
	owner := func(n int) string {
		return fmt.Sprintf(`{"apiVersion": "v", "kind": "k", "name": "n%d", "uid": "u%d", "controller": true}`, n, n)
	}
	var owners []string
	for n := range 4000 {
		owners = append(owners, owner(n))
	}
	pod := func(rest string) string {
		return `"template": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x"}], ` + rest + `}}}}`
	}
	for name, object := range map[string]string{
		"errors of the schema":    `{"metadata": {"name": "b"}, "spec": {"jobName": "", ` + pod(`"topologySpreadConstraints": [`+strings.Repeat(item+",", 9000)+item+`]`) + `}}`,
		"errors of the template":  `{"metadata": {"name": "b"}, "spec": {"jobName": "job", "template": {"spec": {"template": {"spec": {"containers": [` + strings.Repeat("{},", 9000) + `{}]}}}}}}`,
		"errors of the metadata":  `{"metadata": {"name": "b", "ownerReferences": [` + strings.Join(owners, ",") + `]}, "spec": {"jobName": "job", "concurrencyKey": "k"}}`,
		"a field of a great size": `{"metadata": {"name": "b"}, "spec": {"jobName": "job", "concurrencyKey": "` + strings.Repeat("k", 400<<10) + `"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			response := newReplica(t).Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: admissionv1.Create, Name: "b", Namespace: wrappers.Namespace, Object: runtime.RawExtension{Raw: []byte(object)},
			}})
			if response.Allowed || response.Result.Code != 422 {
				t.Fatalf("allowed %t, %.300v", response.Allowed, response.Result)
			}
			body, err := json.Marshal(response)
			if err != nil {
				t.Fatal(err)
			}
			if len(body) > 128<<10 {
				t.Errorf("an answer of %d bytes", len(body))
			}
		})
	}
}

// The webhook does not validate a large template by the schema. Only the API server does.
func TestCreateLargeTemplate(t *testing.T) {
	for args, want := range map[int]bool{100: false, 1001: true} {
		pod := "{restartPolicy: Never, containers: [{name: a, image: x, args: [" + strings.Repeat("a,", args) + "a]}]}"
		m := strings.Replace(withTemplate("b", pod), "jobName: job,", "jobName: job, maxAttempts: 0,", 1)
		if response := newReplica(t).create(t, m); response.Allowed != want {
			t.Errorf("%d args: allowed %t, %.300v", args, response.Allowed, response.Result)
		}
	}
}

// Commas in strings do not count as elements of the template.
func TestCreateWithListsInTexts(t *testing.T) {
	text := strings.Repeat("1,", 20000) + `\\\" , \"`
	m := withTemplate("b", `{restartPolicy: Never, containers: [{name: a, image: x, args: ["`+text+`"]}]}`)
	admitted(t, m, newReplica(t).create(t, m))
}

// A text that looks like a costly quantity is allowed where no quantity is expected.
func TestCreateWithNumbersInTexts(t *testing.T) {
	for _, text := range []string{"1e1000", "1e-999999999", strings.Repeat("1", 100)} {
		m := withTemplate("b", "{restartPolicy: Never, containers: [{name: a, image: x, env: [{name: NUMBER, value: '"+text+"'}], resources: {limits: {cpu: 1e2}}}]}")
		admitted(t, m, newReplica(t).create(t, m))
	}
}

// The webhook does not validate a JobRun that reserves no key by the schema. The API server validates it right after.
func TestCreateLeavesToTheAPIServer(t *testing.T) {
	waiting := wrappers.MakeRunKey("k").Pending("a").Obj()
	for name, manifest := range map[string]string{
		"no key":                          "metadata: {name: b}\nspec: {jobName: job, maxAttempts: 0}\n",
		"an empty key":                    "metadata: {name: b}\nspec: {jobName: job, concurrencyKey: ''}\n",
		"coalesce without concurrencyKey": "metadata: {name: b}\nspec: {jobName: job, coalesce: Skip}\n",
		"what is absorbed":                "metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, coalesce: Skip, maxAttempts: 0}\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, waiting)
			if response := r.create(t, manifest); !response.Allowed {
				t.Errorf("refused with %+v", response.Result)
			}
			if writes := r.store.Writes(); len(writes) > 0 {
				t.Errorf("took %v", writes)
			}
		})
	}
}

// A conflict reserves no key, so the webhook does not validate it by the schema: duplicates are mostly valid, and the
// schema costs more than all other checks. The cheap checks come before the key.
func TestCreateBadInputAndConflict(t *testing.T) {
	for manifest, want := range map[string]int32{
		"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, maxAttempts: 0}\n":                                       http.StatusConflict,
		"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, template: {spec: {template: {spec: {containers: []}}}}}": http.StatusUnprocessableEntity,
	} {
		r := newReplica(t, wrappers.MakeRunKey("k").Pending("a").Obj())
		response := r.create(t, manifest)
		if response.Allowed || response.Result.Code != want {
			t.Errorf("allowed %t, %+v; want a %d\n%s", response.Allowed, response.Result, want, manifest)
		}
	}
}

// Unusual but valid input is allowed.
func TestCreateOddInput(t *testing.T) {
	for name, tc := range map[string]struct{ manifest, key string }{
		"a key with slashes, quotes, emoji": {"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: '/a/\"b\" 💥'}\n", `/a/"b" 💥`},
		"a key of 256 characters":           {"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: " + strings.Repeat("💥", 256) + "}\n", strings.Repeat("💥", 256)},
		"input that is a bare string":       {"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, input: hello}\n", "k"},
		"input of 64 levels":                {"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, input: " + nested(64) + "}\n", "k"},
		"input that is null":                {"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, input: null}\n", "k"},
		"64 KiB of input":                   {"metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, input: " + strings.Repeat("x", 64<<10-2) + "}\n", "k"},
		"a 52-character name, a template":   {withTemplate(strings.Repeat("n", 52), onePod), "k"},
		"a 253-character name, none":        {"metadata: {name: " + strings.Repeat("n", 253) + "}\nspec: {jobName: job, concurrencyKey: k}\n", "k"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			run, _ := admitted(t, tc.manifest, r.create(t, tc.manifest))
			if run.Spec.Admission.Disposition != v1alpha1.DispositionCreated {
				t.Errorf("admission %+v", run.Spec.Admission)
			}
			want := []string{"create RunKey " + v1alpha1.ConcurrencyKeyName("job", tc.key)}
			if diff := cmp.Diff(want, r.store.Writes()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

// The webhook stamps the admission and the labels into an object.
func TestCreateStamps(t *testing.T) {
	key := v1alpha1.ConcurrencyKeyName("job", "k")
	owned := wrappers.MakeIdempotencyKey("i").Owner("a").Obj()
	first := func(input string) client.Object {
		return wrappers.MakeJobRun("a").Key("k").IdempotencyKey("i").Input(input).Created().Obj()
	}
	for name, tc := range map[string]struct {
		stored   []client.Object
		manifest string
		want     v1alpha1.Admission
		labels   map[string]string
		warnings []string
	}{
		"created": {
			manifest: plain,
			want:     v1alpha1.Admission{Disposition: "Created", RunName: "b", RunToken: "token-b", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "created"},
		},
		"created without a key": {
			manifest: "metadata: {name: b, labels: {env: prod, batch.jobrun.dev/key: forged}}\nspec: {jobName: job}\n",
			want:     v1alpha1.Admission{Disposition: "Created", RunName: "b", RunToken: "token-b", Token: "token-b"},
			labels:   map[string]string{"env": "prod", "batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/disposition": "created"},
		},
		"coalesced": {
			stored:   []client.Object{wrappers.MakeRunKey("k").Pending("a").Obj()},
			manifest: skips,
			want:     v1alpha1.Admission{Disposition: "Coalesced", RunName: "a", RunToken: "token-a", KeyVersion: "10", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "coalesced"},
			warnings: []string{`jobrun b coalesced: run a already waits for job "job", concurrencyKey "k" and stands for this trigger`},
		},
		"idempotent": {
			stored:   []client.Object{owned, first(`{"org": "acme"}`)},
			manifest: repeats,
			want:     v1alpha1.Admission{Disposition: "Idempotent", RunName: "a", RunToken: "token-a", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "idempotent"},
			warnings: []string{`jobrun b starts nothing: idempotencyKey "i" of job "job" was delivered before, run a stands for it`},
		},
		"idempotent with another input": {
			stored:   []client.Object{owned, first(`{"org": "other"}`)},
			manifest: repeats,
			want:     v1alpha1.Admission{Disposition: "Idempotent", RunName: "a", RunToken: "token-a", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "idempotent"},
			warnings: []string{`jobrun b starts nothing: idempotencyKey "i" of job "job" was delivered before, run a stands for it; its input differs from that of a and is ignored`},
		},
		"idempotent, the first delivery was absorbed by a run with another input": {
			stored: []client.Object{owned, wrappers.MakeJobRun("a").Key("k").Input(`"other"`).Created().Obj(),
				wrappers.MakeJobRun("r").Key("k").Skip().IdempotencyKey("i").Input(`{"org":"acme"}`).CoalescedBy("a", "4").Obj()},
			manifest: repeats,
			want:     v1alpha1.Admission{Disposition: "Idempotent", RunName: "a", RunToken: "token-a", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "idempotent"},
			warnings: []string{`jobrun b starts nothing: idempotencyKey "i" of job "job" was delivered before, run a stands for it`},
		},
		"idempotent, and nothing of the first delivery is there": {
			stored:   []client.Object{owned},
			manifest: repeats,
			want:     v1alpha1.Admission{Disposition: "Idempotent", RunName: "a", RunToken: "token-a", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "idempotent"},
			warnings: []string{`jobrun b starts nothing: idempotencyKey "i" of job "job" was delivered before, run a stands for it`},
		},
		"a forged admission": {
			stored:   []client.Object{wrappers.MakeRunKey("k").Pending("a").Obj()},
			manifest: skips[:len(skips)-2] + ", admission: {disposition: Created, runName: b, runToken: mine, keyVersion: '999', token: mine}}\n",
			want:     v1alpha1.Admission{Disposition: "Coalesced", RunName: "a", RunToken: "token-a", KeyVersion: "10", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "coalesced"},
			warnings: []string{`jobrun b coalesced: run a already waits for job "job", concurrencyKey "k" and stands for this trigger`},
		},
		"a forged admission that is invalid": {
			manifest: plain[:len(plain)-2] + ", admission: {disposition: Nonsense}}\n",
			want:     v1alpha1.Admission{Disposition: "Created", RunName: "b", RunToken: "token-b", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "created"},
		},
		"forged labels": {
			manifest: "metadata: {name: b, labels: {batch.jobrun.dev/job-name: x, batch.jobrun.dev/key: x, batch.jobrun.dev/disposition: x}}\nspec: {jobName: job, concurrencyKey: k}\n",
			want:     v1alpha1.Admission{Disposition: "Created", RunName: "b", RunToken: "token-b", Token: "token-b"},
			labels:   map[string]string{"batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": key, "batch.jobrun.dev/disposition": "created"},
		},
	} {
		tc.want.Executor, tc.labels[v1alpha1.LabelExecutor] = v1alpha1.ExecutorWorker, "worker"
		for _, dry := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dry run %t", name, dry), func(t *testing.T) {
				r := newReplica(t, tc.stored...)
				var changes []func(*admission.Request)
				if dry {
					changes = append(changes, dryRun)
				}
				response := r.create(t, tc.manifest, changes...)
				run, _ := admitted(t, tc.manifest, response)
				if diff := cmp.Diff(&tc.want, run.Spec.Admission); diff != "" {
					t.Errorf("admission (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.labels, run.Labels); diff != "" {
					t.Errorf("labels (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.warnings, response.Warnings); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
				if writes := r.store.Writes(); dry && len(writes) > 0 {
					t.Errorf("a dry run writes %v", writes)
				}
			})
		}
	}
}

// The patch changes only name, labels, admission, and the fields that every JobRun shows. Quantities and unknown fields stay as the caller sent them.
func TestCreatePatchTouchesLittle(t *testing.T) {
	manifest := `
metadata: {generateName: b-, annotations: {a: "1"}}
spec:
  jobName: job
  input: {n: 1.50, big: 12345678901234567890}
  template: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x, resources: {limits: {cpu: 1000m, memory: 1024Mi}}}]}}}}
`
	response := newReplica(t).create(t, manifest)
	allowed := regexp.MustCompile(`^/(metadata/(name|labels(/.*)?)|spec/(admission|maxAttempts|onLeaseExpired|onJobLost))$`)
	for _, op := range response.Patches {
		if !allowed.MatchString(op.Path) {
			t.Errorf("%s %s", op.Operation, op.Path)
		}
	}
	_, raw := admitted(t, manifest, response)
	for _, verbatim := range []string{`"cpu":"1000m"`, `"memory":"1024Mi"`, `"generateName":"b-"`, `"annotations":{"a":"1"}`} {
		if !strings.Contains(string(raw), verbatim) {
			t.Errorf("%s is not in %s", verbatim, raw)
		}
	}
}

func TestGenerateName(t *testing.T) {
	manifest := func(base string, template bool) string {
		m := "metadata: {generateName: " + base + "}\nspec: {jobName: job"
		if template {
			m += ", template: {spec: {template: {spec: " + onePod + "}}}"
		}
		return m + "}\n"
	}
	for name, tc := range map[string]struct {
		base     string
		template bool
		want     string
	}{
		"short":                     {"sync-", true, `^sync-[a-z0-9]{10}$`},
		"as long as it may be":      {strings.Repeat("n", 42), true, `^n{42}[a-z0-9]{10}$`},
		"too long with a template":  {strings.Repeat("n", 60), true, `^n{42}[a-z0-9]{10}$`},
		"long without a template":   {strings.Repeat("n", 60), false, `^n{60}[a-z0-9]{10}$`},
		"too long without template": {strings.Repeat("n", 253), false, `^n{243}[a-z0-9]{10}$`},
	} {
		t.Run(name, func(t *testing.T) {
			r, m := newReplica(t), manifest(tc.base, tc.template)
			seen := map[string]bool{}
			for range 3 {
				run, _ := admitted(t, m, r.create(t, m))
				if !regexp.MustCompile(tc.want).MatchString(run.Name) || seen[run.Name] {
					t.Errorf("name %s, want another one like %s", run.Name, tc.want)
				}
				if run.Spec.Admission.RunName != run.Name {
					t.Errorf("admission %+v", run.Spec.Admission)
				}
				seen[run.Name] = true
			}
		})
	}
	t.Run("the same for a request that is sent twice", func(t *testing.T) {
		names := map[string]bool{}
		for _, request := range []types.UID{"x", "x", "y", "", ""} {
			m := manifest("sync-", false)
			run, _ := admitted(t, m, newReplica(t).create(t, m, func(req *admission.Request) { req.UID = request }))
			names[run.Name] = true
		}
		if len(names) != 4 {
			t.Errorf("names %v", names)
		}
	})
	t.Run("a name goes before a generateName", func(t *testing.T) {
		m := "metadata: {name: b, generateName: x-}\nspec: {jobName: job}\n"
		if run, _ := admitted(t, m, newReplica(t).create(t, m)); run.Name != "b" {
			t.Errorf("name %s", run.Name)
		}
	})
}

// If the API server sends a request twice, the first call does not give back the reservation of the second call. The
// answer of the second call counts.
func TestCreateTwice(t *testing.T) {
	r := newReplica(t)
	var second admission.Response
	r.store.After = func(string, client.Object) error { return errors.New("the answer is lost") }
	r.store.Before = func(verb string, _ client.Object) error {
		if verb == "delete" {
			r.store.Before, r.store.After = nil, nil
			second = r.create(t, plain)
		}
		return nil
	}
	if first := r.create(t, plain); first.Allowed {
		t.Error("the first is allowed")
	}
	run, _ := admitted(t, plain, second)
	key := &v1alpha1.RunKey{}
	name := client.ObjectKey{Namespace: wrappers.Namespace, Name: v1alpha1.ConcurrencyKeyName("job", "k")}
	if err := r.store.Get(t.Context(), name, key); err != nil {
		t.Fatal(err)
	}
	if got, want := runkey.Pending(&key.Spec), runkey.IdentityOf(run); got != want {
		t.Errorf("the key has %v waiting, want %v", got, want)
	}
}

// Each call of the webhook uses a new random token.
func TestTokens(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		run, _ := admitted(t, plain, newReplicaOf(t, nil).create(t, plain))
		seen[run.Spec.Admission.Token] = true
	}
	if len(seen) != 2 || seen[""] {
		t.Errorf("tokens %v", seen)
	}
}

func TestCreateRefusals(t *testing.T) {
	resource := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "runkeys"}
	refuseWrites := func(err error) func(*wrappers.Store) {
		return func(s *wrappers.Store) { s.Before = func(string, client.Object) error { return err } }
	}
	for name, tc := range map[string]struct {
		stored   []client.Object
		manifest string
		fail     func(*wrappers.Store)
		code     int32
		reason   metav1.StatusReason
		message  string
		causes   []metav1.StatusCause
	}{
		"a run waits": {
			stored: []client.Object{wrappers.MakeRunKey("k").Pending("a").Obj(), wrappers.MakeJobRun("a").Created().Obj()}, manifest: plain,
			code: http.StatusConflict, reason: metav1.StatusReasonConflict,
			message: `run a is pending for job "job", concurrencyKey "k"`,
			causes:  []metav1.StatusCause{{Type: "PendingRun", Field: "spec.concurrencyKey", Message: "a"}},
		},
		"the name exists": {
			stored: []client.Object{wrappers.MakeJobRun("b").Created().Obj()}, manifest: plain,
			code: http.StatusConflict, reason: metav1.StatusReasonAlreadyExists, message: `"b" already exists`,
		},
		"the name is reserved by a run that exists": {
			stored: []client.Object{
				wrappers.MakeRunKey("k").PendingAs("b", "earlier").Obj(), wrappers.MakeJobRun("b").Created().Token("earlier").Obj(),
			}, manifest: plain,
			code: http.StatusConflict, reason: metav1.StatusReasonAlreadyExists, message: `"b" already exists`,
		},
		"time is up": {
			manifest: plain, fail: refuseWrites(context.DeadlineExceeded),
			code: http.StatusGatewayTimeout, reason: metav1.StatusReasonTimeout, message: "try again",
		},
		"the API server is busy": {
			manifest: plain, fail: refuseWrites(apierrors.NewTooManyRequestsError("busy")),
			code: http.StatusServiceUnavailable, reason: metav1.StatusReasonServiceUnavailable, message: "try again",
		},
		"the operator may not": {
			manifest: plain, fail: refuseWrites(apierrors.NewForbidden(resource, "k", errors.New("terminating"))),
			code: http.StatusServiceUnavailable, reason: metav1.StatusReasonServiceUnavailable, message: "terminating",
		},
		"something else": {
			manifest: plain, fail: refuseWrites(errors.New("connection refused")),
			code: http.StatusInternalServerError, message: "connection refused",
		},
		"names cannot be read": {
			manifest: plain, fail: func(s *wrappers.Store) {
				s.Read = func(client.ObjectKey, client.Object) error { return errors.New("connection refused") }
			},
			code: http.StatusInternalServerError, message: "connection refused",
		},
	} {
		for _, dry := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dry run %t", name, dry), func(t *testing.T) {
				var changes []func(*admission.Request)
				if dry {
					changes = append(changes, dryRun)
				}
				if dry && tc.code != http.StatusConflict {
					return // Nothing is written that could fail.
				}
				r := newReplica(t, tc.stored...)
				if tc.fail != nil {
					tc.fail(r.store)
				}
				response := r.create(t, tc.manifest, changes...)
				if response.Allowed || response.Result.Code != tc.code || response.Result.Reason != tc.reason {
					t.Errorf("allowed %t, code %d, reason %q", response.Allowed, response.Result.Code, response.Result.Reason)
				}
				if !strings.Contains(response.Result.Message, tc.message) {
					t.Errorf("message %q, want %q in it", response.Result.Message, tc.message)
				}
				var causes []metav1.StatusCause
				if response.Result.Details != nil {
					causes = response.Result.Details.Causes
				}
				if tc.causes != nil {
					if diff := cmp.Diff(tc.causes, causes); diff != "" {
						t.Errorf("causes (-want +got):\n%s", diff)
					}
				}
				if writes := r.store.Writes(); len(writes) > 0 {
					t.Errorf("left taken: %v", writes)
				}
			})
		}
	}
}

// A name is free after its JobRun was deleted, even if the cache still shows the JobRun.
func TestCreateNameFreeAgain(t *testing.T) {
	r := newReplica(t, wrappers.MakeJobRun("b").Created().Obj())
	cached := true
	r.store.Read = func(key client.ObjectKey, o client.Object) error {
		if _, ok := o.(*v1alpha1.JobRun); !ok || cached {
			cached = false
			return nil
		}
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	if run, _ := admitted(t, plain, r.create(t, plain)); run.Spec.Admission.Disposition != v1alpha1.DispositionCreated {
		t.Errorf("admission %+v", run.Spec.Admission)
	}
}

// The webhook answers within the 10 s that the API server waits, and no key stays reserved.
func TestCreateInTime(t *testing.T) {
	r := newReplica(t)
	synctest.Test(t, func(t *testing.T) {
		r.store.After = func(verb string, _ client.Object) error {
			if verb == "create" {
				time.Sleep(admissionDeadline)
				return context.DeadlineExceeded
			}
			return nil
		}
		start := time.Now()
		response := r.create(t, plain)
		if response.Allowed || response.Result.Reason != metav1.StatusReasonTimeout {
			t.Errorf("allowed %t, %+v", response.Allowed, response.Result)
		}
		if took := time.Since(start); took >= 10*time.Second {
			t.Errorf("answered after %s", took)
		}
		writes := r.store.Writes()
		if len(writes) != 2 || !strings.HasPrefix(writes[1], "delete RunKey ") {
			t.Errorf("writes %v", writes)
		}
	})
}

// admissionDeadline is the time after which the webhook stops and gives the reservation back.
const admissionDeadline = 8 * time.Second

func TestOtherOperations(t *testing.T) {
	for _, operation := range []admissionv1.Operation{admissionv1.Delete, admissionv1.Connect} {
		response := newReplica(t).create(t, plain, func(req *admission.Request) { req.Operation = operation })
		if !response.Allowed || len(response.Patches) > 0 {
			t.Errorf("%s: %+v", operation, response)
		}
	}
}
