// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

// The manifests in testdata have the features of these public charts, and nothing else of them.
var charts = map[string]string{
	"descheduler":                  "kubernetes-sigs/descheduler, charts/descheduler/templates/cronjob.yaml",
	"linkerd-heartbeat":            "linkerd/linkerd2, charts/linkerd-control-plane/templates/heartbeat.yaml",
	"airflow-cleanup":              "apache/airflow, chart/templates/cleanup/cleanup-cronjob.yaml",
	"postgresql-pgdumpall":         "bitnami/charts, bitnami/postgresql/templates/backup/cronjob.yaml",
	"cilium-hubble-generate-certs": "cilium/cilium, install/kubernetes/cilium/templates/hubble/tls-cronjob/cronjob.yaml",
	"jaeger-es-index-cleaner":      "jaegertracing/helm-charts, charts/jaeger/templates/es-index-cleaner-cronjob.yaml",
	"renovate":                     "renovatebot/helm-charts, charts/renovate/templates/cronjob.yaml, with dind",
	"netbox-housekeeping":          "netbox-community/netbox-chart, charts/netbox/templates/cronjob.yaml, suspended, with a native sidecar",
	"mastodon-media-remove":        "mastodon/chart, templates/cronjob-media-remove.yaml",
	"zammad-reindex":               "zammad/zammad-helm, zammad/templates/cronjob-reindex.yaml, there to be triggered by hand",
	"nextcloud-cron":               "nextcloud/helm, charts/nextcloud/templates/cronjob.yaml",
}

func TestCronJobsOfPublicCharts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) != 2*len(charts) && !*update {
		t.Fatalf("%d files for %d charts: %v", len(files), len(charts), err)
	}
	for name, source := range charts {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			cronJob := parse(t, string(text))
			result := CronJob(cronJob)
			if diff := cmp.Diff(parse(t, string(text)), cronJob); diff != "" {
				t.Errorf("the CronJob was changed:\n%s", diff)
			}
			golden(t, name, "# "+source+"\n"+rendered(t, result))
			if result.Definition == nil {
				return
			}
			for _, complaint := range complaints(t, result.Definition) {
				t.Errorf("the API server refuses the definition: %s", complaint)
			}
		})
	}
}

// golden compares a text with the golden file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden.yaml")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// rendered returns a result as a text: the findings as comments, and the definition.
func rendered(t *testing.T, result Result) string {
	t.Helper()
	var text strings.Builder
	for _, f := range result.Problems {
		fmt.Fprintf(&text, "# error: %s: %s\n", f.Field, f.Message)
	}
	for _, f := range result.Notes {
		fmt.Fprintf(&text, "# note: %s: %s\n", f.Field, f.Message)
	}
	if result.Definition == nil {
		return text.String()
	}
	definition, err := yaml.Marshal(result.Definition.Object)
	if err != nil {
		t.Fatal(err)
	}
	return text.String() + string(definition)
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	json, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(json); err != nil {
		t.Fatal(err)
	}
	return object
}

// cronJob returns a CronJob with fields of its spec, as YAML.
func cronJob(t *testing.T, metadata, fields string) *unstructured.Unstructured {
	t.Helper()
	return parse(t, `
apiVersion: batch/v1
kind: CronJob
metadata: `+metadata+`
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}}}}
`+fields)
}

func TestWhatCannotBeConverted(t *testing.T) {
	long := strings.Repeat("a", 64)
	for name, tc := range map[string]struct {
		metadata, fields string
		want             []string
	}{
		"Replace":            {"", "  concurrencyPolicy: Replace", []string{"spec.concurrencyPolicy"}},
		"no policy":          {"", "  concurrencyPolicy: Never", []string{"spec.concurrencyPolicy"}},
		"an unknown field":   {"", "  scedule: 1", []string{"spec.scedule"}},
		"a wrong type":       {"", "  startingDeadlineSeconds: soon", []string{"spec"}},
		"no name":            {"{generateName: a-}", "", []string{"metadata.name"}},
		"a name with dots":   {"{name: a.b}", "", []string{"metadata.name"}},
		"a long name":        {"{name: " + long + "}", "", []string{"metadata.name"}},
		"a schedule":         {"", "  schedule: 61 * * * *", []string{"spec.schedule"}},
		"seconds":            {"", "  schedule: '@every 90s'", []string{"spec.schedule"}},
		"an unknown zone":    {"", "  timeZone: Europe/Nowhere", []string{"spec.timeZone"}},
		"a zone alone":       {"", "  schedule: TZ=UTC", []string{"spec.schedule"}},
		"two zones":          {"", "  schedule: TZ=UTC 0 3 * * *\n  timeZone: Europe/Berlin", []string{"spec.schedule"}},
		"no time to start":   {"", "  startingDeadlineSeconds: 0", []string{"spec.startingDeadlineSeconds"}},
		"a negative limit":   {"", "  failedJobsHistoryLimit: -1", []string{"spec.failedJobsHistoryLimit"}},
		"no containers":      {"", template("restartPolicy: Never"), []string{"spec.jobTemplate.spec.template.spec.containers"}},
		"always restarted":   {"", template("containers: [{name: a, image: b}]"), []string{"spec.jobTemplate.spec.template.spec.restartPolicy"}},
		"no template":        {"", "  jobTemplate: null", []string{"spec.jobTemplate"}},
		"several, all named": {"{name: a.b}", "  concurrencyPolicy: Replace\n  schedule: x", []string{"spec.concurrencyPolicy", "spec.schedule", "metadata.name"}},
	} {
		t.Run(name, func(t *testing.T) {
			metadata := tc.metadata
			if metadata == "" {
				metadata = "{name: nightly}"
			}
			result := CronJob(overridden(t, metadata, tc.fields))
			if result.Definition != nil {
				t.Errorf("there is a definition:\n%s", rendered(t, result))
			}
			var got []string
			for _, problem := range result.Problems {
				got = append(got, problem.Field)
				if problem.Message == "" {
					t.Errorf("%s has no message", problem.Field)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n%s", diff, rendered(t, result))
			}
		})
	}
}

func template(pod string) string {
	return "  jobTemplate: {spec: {template: {spec: {" + pod + "}}}}"
}

// overridden is cronJob, with fields that take the place of its own.
func overridden(t *testing.T, metadata, fields string) *unstructured.Unstructured {
	t.Helper()
	object := cronJob(t, metadata, "")
	var spec map[string]any
	if err := yaml.Unmarshal([]byte(fields), &spec); err != nil {
		t.Fatal(err)
	}
	for name, value := range spec {
		number, isNumber := value.(float64)
		if isNumber {
			value = int64(number)
		}
		if value == nil {
			unstructured.RemoveNestedField(object.Object, "spec", name)
			continue
		}
		if err := unstructured.SetNestedField(object.Object, value, "spec", name); err != nil {
			t.Fatal(err)
		}
	}
	return object
}

// definitionOf returns the definition of a CronJob that can be converted, and its notes.
func definitionOf(t *testing.T, from *unstructured.Unstructured) (*v1alpha1.JobDefinition, []string) {
	t.Helper()
	result := CronJob(from)
	if result.Definition == nil {
		t.Fatalf("there is no definition: %s", rendered(t, result))
	}
	for _, complaint := range complaints(t, result.Definition) {
		t.Errorf("the API server refuses the definition: %s", complaint)
	}
	definition := &v1alpha1.JobDefinition{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(result.Definition.Object, definition, true); err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, note := range result.Notes {
		notes = append(notes, note.Field)
	}
	return definition, notes
}

func TestConcurrencyPolicies(t *testing.T) {
	for policy, want := range map[string]*v1alpha1.JobRunDefaults{
		"":       nil,
		"Allow":  nil,
		"Forbid": {ConcurrencyKey: "nightly", Coalesce: v1alpha1.CoalesceSkip},
	} {
		fields := ""
		if policy != "" {
			fields = "  concurrencyPolicy: " + policy
		}
		definition, notes := definitionOf(t, cronJob(t, "{name: nightly}", fields))
		if diff := cmp.Diff(want, definition.Spec.Defaults); diff != "" {
			t.Errorf("%q: %s", policy, diff)
		}
		if (want != nil) != cmp.Equal(notes, []string{"spec.concurrencyPolicy"}) {
			t.Errorf("%q: notes %q", policy, notes)
		}
	}
}

func TestBounds(t *testing.T) {
	definition, notes := definitionOf(t, cronJob(t, "{name: nightly, ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: b}]}",
		"  startingDeadlineSeconds: 31536001\n  successfulJobsHistoryLimit: 10001\n  failedJobsHistoryLimit: 10000"))
	spec := definition.Spec
	if spec.Schedules[0].StartingDeadlineSeconds != 31536000 || *spec.SuccessfulRunsHistoryLimit != 10000 || *spec.FailedRunsHistoryLimit != 10000 {
		t.Errorf("got %+v", spec)
	}
	want := []string{"spec.startingDeadlineSeconds", "spec.successfulJobsHistoryLimit", "metadata.ownerReferences"}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Error(diff)
	}
	if len(definition.OwnerReferences) != 0 {
		t.Error("the definition has an owner")
	}
}

// Such a CronJob is there for `kubectl create job --from`.
func TestScheduleThatNeverFires(t *testing.T) {
	definition, notes := definitionOf(t, overridden(t, "{name: nightly}", "  schedule: 0 0 31 2 *"))
	if len(definition.Spec.Schedules) != 0 || !cmp.Equal(notes, []string{"spec.schedule"}) {
		t.Errorf("schedules %v, notes %q", definition.Spec.Schedules, notes)
	}
}

func TestWhatKubectlPrintsIsConverted(t *testing.T) {
	from := cronJob(t, `{name: nightly, uid: u, resourceVersion: "7", generation: 2, creationTimestamp: "2026-01-01T00:00:00Z",
  managedFields: [{manager: kubectl}], annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}", why: backup}, labels: {team: a}}`, "")
	from.Object["status"] = map[string]any{"lastScheduleTime": "2026-01-01T03:00:00Z", "ofANewerVersion": true}
	definition, notes := definitionOf(t, from)
	want := v1alpha1.JobDefinition{}.ObjectMeta
	want.Name, want.Labels, want.Annotations = "nightly", map[string]string{"team": "a"}, map[string]string{"why": "backup"}
	if diff := cmp.Diff(want, definition.ObjectMeta); diff != "" {
		t.Error(diff)
	}
	if len(notes) != 0 {
		t.Errorf("notes %q", notes)
	}
}

func TestIsCronJob(t *testing.T) {
	for text, want := range map[string]bool{
		"{apiVersion: batch/v1, kind: CronJob}":       true,
		"{apiVersion: batch/v1beta1, kind: CronJob}":  true,
		"{apiVersion: batch/v1, kind: Job}":           false,
		"{apiVersion: example.com/v1, kind: CronJob}": false,
	} {
		if got := IsCronJob(parse(t, text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
