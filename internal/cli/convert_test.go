// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const cronJobText = `apiVersion: batch/v1
kind: CronJob
metadata: {name: NAME}
spec:
  schedule: 0 3 * * *
  concurrencyPolicy: POLICY
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}}}}
`

func cronJobOf(name, policy string) string {
	return strings.NewReplacer("NAME", name, "POLICY", policy).Replace(cronJobText)
}

const nightlyText = `apiVersion: batch.jobrun.dev/v1alpha1
kind: JobDefinition
metadata:
  name: nightly
spec:
  failedRunsHistoryLimit: 1
  schedules:
  - name: cron
    schedule: 0 3 * * *
  successfulRunsHistoryLimit: 3
  template:
    spec:
      template:
        spec:
          containers:
          - image: busybox
            name: main
          restartPolicy: Never
`

func TestConvert(t *testing.T) {
	list := `{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {
  "schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}}}}}}]}`
	for name, tc := range map[string]struct {
		stdin          string
		code           int
		stdout, stderr string
	}{
		"one":    {cronJobOf("nightly", "Allow"), 0, nightlyText, ""},
		"a list": {list, 0, nightlyText, ""},
		"several documents": {
			"# Source: a chart\n---\n" + cronJobOf("nightly", "Allow") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n---\n" + cronJobOf("weekly", "Forbid"),
			0, "~" + nightlyText + "---\napiVersion: batch.jobrun.dev/v1alpha1\n~  name: weekly\n",
			"note: ConfigMap settings is no CronJob and is left out\n" +
				"note: CronJob weekly: spec.concurrencyPolicy: Forbid drops the tick that comes while a Job executes; " +
				"here it waits and executes next, and absorbs the ticks after it\n",
		},
		"one of two": {
			cronJobOf("replaced", "Replace") + "---\n" + cronJobOf("nightly", "Allow"), 1, nightlyText,
			"~error: CronJob replaced: spec.concurrencyPolicy: Replace ends~error: 1 of 2 CronJobs cannot be converted\n",
		},
		"no CronJob":    {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\n", 2, "", "~there is no CronJob of batch/v1 to convert"},
		"nothing":       {"", 2, "", "~there is no CronJob"},
		"no YAML":       {"a: [", 2, "", "~--filename -: document 1: "},
		"no kind":       {"---\n---\nspec: {}", 2, "", "~--filename -: document 2: ~'Kind' is missing"},
		"a field twice": {cronJobOf("nightly", "Allow") + "spec: {}", 2, "", `~"spec" already set`},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.stdin = tc.stdin
				s.want(s.run("convert", "-f", "-"), tc.code, tc.stdout, tc.stderr)
			})
		})
	}
}

func TestConvertFiles(t *testing.T) {
	dir := t.TempDir()
	var args []string
	for _, name := range []string{"nightly", "weekly"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(cronJobOf(name, "Allow")), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", file)
	}
	inScene(t, func(t *testing.T, s *scene) {
		s.want(s.run(append([]string{"convert"}, args...)...), 0, "~"+nightlyText+"---\n~  name: weekly\n", "")
		for document := range strings.SplitSeq(s.stdout.String(), "---\n") {
			var definition v1alpha1.JobDefinition
			if err := yaml.UnmarshalStrict([]byte(document), &definition); err != nil {
				t.Error(err)
			}
		}
		s.want(s.run("convert"), 2, "", "~which CronJob? Name its file with -f")
		s.want(s.run("convert", "-f", dir+"/none"), 2, "", "~--filename: open")
		s.want(s.run("convert", "nightly"), 2, "", "~unknown command")
	})
}

// convert needs no cluster.
func TestConvertNeedsNoKubeconfig(t *testing.T) {
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(cronJobOf("nightly", "Allow")), Out: &out, ErrOut: &errOut}
	code := Main(t.Context(), []string{"convert", "--kubeconfig=" + t.TempDir() + "/none", "-f", "-"}, Options{Streams: streams})
	if code != exitOK || out.String() != nightlyText || errOut.Len() > 0 {
		t.Errorf("exit code %d: %s%s", code, &out, &errOut)
	}
}
