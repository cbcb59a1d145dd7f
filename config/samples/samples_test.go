// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package samples

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// A misspelt field would be dropped, and the sample would show something else than it says.
func TestSamplesHaveKnownFieldsOnly(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range slices.DeleteFunc(files, func(f string) bool { return f == "kustomization.yaml" }) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(text, &meta); err != nil {
			t.Fatal(err)
		}
		objects := map[string]any{"JobRun": &v1alpha1.JobRun{}, "JobDefinition": &v1alpha1.JobDefinition{}}
		if err := yaml.UnmarshalStrict(text, objects[meta.Kind]); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A job that is defined has one template, in its definition, so a sample with a template must be of another job.
func TestSamplesOfADefinedJobHaveNoTemplate(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	triggers := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var run v1alpha1.JobRun
		if err := yaml.Unmarshal(text, &run); err != nil {
			t.Fatal(err)
		}
		if run.Kind != "JobRun" || run.Spec.JobName != "sync-users" {
			continue
		}
		if triggers++; run.Spec.Template != nil {
			t.Errorf("%s has a template of the job that sync-users.yaml defines", file)
		}
	}
	if triggers == 0 {
		t.Error("no sample triggers the definition")
	}
}
