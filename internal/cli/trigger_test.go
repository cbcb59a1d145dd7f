// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func jsonOf(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

func TestTriggerPrintsTheDisposition(t *testing.T) {
	idempotent := func(r *v1alpha1.JobRun) error {
		r.Spec.Admission.Disposition, r.Spec.Admission.RunName = v1alpha1.DispositionIdempotent, "first"
		return nil
	}
	for name, tc := range map[string]struct {
		args           []string
		admit          func(*v1alpha1.JobRun) error
		code           int
		stdout, stderr string
	}{
		"created":        {code: 0, stdout: "jobrun.batch.jobrun.dev/a created\n"},
		"coalesced":      {admit: coalescedBy("next"), stdout: "jobrun.batch.jobrun.dev/a coalesced: run next stands for it\n"},
		"idempotent":     {admit: idempotent, stdout: "jobrun.batch.jobrun.dev/a idempotent: run first stands for it\n"},
		"dry run":        {args: []string{"--dry-run=server"}, stdout: "jobrun.batch.jobrun.dev/a created (server dry run)\n"},
		"name":           {args: []string{"-o", "name"}, admit: coalescedBy("next"), stdout: "jobrun.batch.jobrun.dev/a\n"},
		"jsonpath":       {args: []string{"-o", "jsonpath={.spec.admission.runName}"}, admit: coalescedBy("next"), stdout: "next"},
		"template alone": {args: []string{"--template={{.metadata.name}}"}, stdout: "a"},
		"wide": {
			args:   []string{"-o", "wide"},
			stdout: "~NAME~HOLDER~a      sync           a                 <unknown>   acme",
		},
		"conflict": {
			args: nil, admit: conflictWith("next"), code: 3,
			stderr: "Error from server (Conflict): run next is pending\n" +
				"`kubectl jobrun wait next` waits for that run, `kubectl jobrun cancel next` cancels it. With --coalesce, that run absorbs this trigger.\n",
		},
		"refused": {
			admit: func(*v1alpha1.JobRun) error {
				return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "a", errors.New("not you"))
			},
			code: 1, stderr: "Error from server (Forbidden): jobruns.batch.jobrun.dev \"a\" is forbidden: not you\n",
		},
		"not installed": {
			admit: func(*v1alpha1.JobRun) error {
				return apierrors.NewGenericServerResponse(404, "post", v1alpha1.GroupVersion.WithResource("jobruns").GroupResource(), "", "", 0, true)
			},
			code: 1, stderr: "~Is JobRun installed in this cluster?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.admit = tc.admit
				code := s.run(append([]string{"trigger", "sync", "--key=acme", "--name=a"}, tc.args...)...)
				s.want(code, tc.code, tc.stdout, tc.stderr)
			})
		})
	}
}

// With -o json or -o yaml, stdout has only the object.
func TestTriggerPrintsTheObjectAlone(t *testing.T) {
	for format, parse := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(b []byte, o any) error { return yaml.Unmarshal(b, o) },
	} {
		inScene(t, func(t *testing.T, s *scene) {
			s.want(s.run("trigger", "sync", "--name=a", "--input=[1.50]", "-o", format), 0, "~", "")
			var run v1alpha1.JobRun
			if err := parse([]byte(s.stdout.String()), &run); err != nil {
				t.Fatalf("%v in\n%s", err, s.stdout.String())
			}
			if run.Kind != "JobRun" || run.APIVersion != "batch.jobrun.dev/v1alpha1" || run.Name != "a" || string(run.Spec.Input.Raw) == "" {
				t.Errorf("-o %s printed %+v", format, run)
			}
		})
	}
}

func TestTriggerRefusesItsCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct {
		args   []string
		stderr string
	}{
		"no job":                 {[]string{}, "~which job?"},
		"two jobs":               {[]string{"a", "b"}, "~one JOB is triggered at a time"},
		"unknown flag":           {[]string{"a", "--bogus"}, "~unknown flag: --bogus~See 'kubectl jobrun trigger --help' for usage."},
		"input is not JSON":      {[]string{"a", "--input={"}, "~--input is not JSON"},
		"input file is missing":  {[]string{"a", "--input=@" + dir + "/none"}, "~--input: open"},
		"input file is not JSON": {[]string{"a", "--input=@" + file("text", "hello")}, "~/text is not JSON"},
		"stdin twice":            {[]string{"-f", "-", "--input=-"}, "~cannot both be read from stdin"},
		"label without value":    {[]string{"a", "--label=env"}, "~--label env: write key=value"},
		"command without image":  {[]string{"a", "--", "true"}, "~a command needs --image"},
		"client dry run":         {[]string{"a", "--dry-run=client"}, "~use --dry-run=server"},
		"dry run and wait":       {[]string{"a", "--dry-run=server", "--wait"}, "~no outcome to wait for"},
		"negative timeout":       {[]string{"a", "--wait", "--timeout=-1s"}, "~must not be negative"},
		"ttl of half a second":   {[]string{"a", "--ttl=500ms"}, "~whole seconds"},
		"negative ttl":           {[]string{"a", "--ttl=-5s"}, "~--ttl -5s: must be whole seconds, and not negative"},
		"unknown format":         {[]string{"a", "-o", "xml"}, "~-o xml is not an output format"},
		"bad template":           {[]string{"a", "-o", "jsonpath={"}, "~jsonpath"},
		"no such file":           {[]string{"-f", dir + "/none"}, "~--filename: open"},
		"another kind":           {[]string{"-f", file("job", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}")}, "~holds a Job of batch/v1"},
		"unknown field":          {[]string{"-f", file("field", "jobName: a\nconcurrentKey: k")}, `~unknown field "concurrentKey"`},
		"unknown field of a run": {[]string{"-f", file("field2", "spec: {jobName: a, coalesc: Skip}")}, `~unknown field "coalesc"`},
		"several documents":      {[]string{"-f", file("two", "jobName: a\n---\njobName: b")}, "~several documents"},
		"empty":                  {[]string{"-f", file("empty", "---\n# nothing\n")}, "~it is empty"},
		"bad name of a job":      {[]string{"Bad_Job"}, "~error: JobRun.batch.jobrun.dev~spec.jobName"},
		"a key that is too long": {[]string{"a", "--key=" + strings.Repeat("k", 257)}, "~error: JobRun.batch.jobrun.dev~spec.concurrencyKey"},
		"another namespace":      {[]string{"-n", "here", "-f", file("ns", "metadata: {namespace: there}\nspec: {jobName: a}")}, `~namespace "there" is not "here"`},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.stdin = "jobName: a"
				s.admit = func(*v1alpha1.JobRun) error {
					t.Error("the trigger was sent")
					return nil
				}
				s.want(s.run(append([]string{"trigger"}, tc.args...)...), 2, "", tc.stderr)
			})
		})
	}
}

const manifest = `
apiVersion: batch.jobrun.dev/v1alpha1
kind: JobRun
metadata:
  name: from-file
  labels: {env: prod, team: a}
  annotations: {why: test}
spec:
  jobName: in-file
  concurrencyKey: k
  coalesce: Skip
  idempotencyKey: i
  input: {big: 12345678901234567890, ratio: 1.0}
  ttlSecondsAfterFinished: 5
  template:
    spec:
      template:
        spec:
          containers:
          - {name: one, image: old, command: [a], args: [b]}
          - {name: two, image: other}
`

func TestFlagsOverrideTheManifest(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.stdin = manifest
		code := s.run("trigger", "-f", "-")
		s.want(code, 0, "jobrun.batch.jobrun.dev/from-file created\n", "")
		run := s.read("from-file")
		if diff := cmp.Diff(map[string]string{"env": "prod", "team": "a"}, run.Labels); diff != "" {
			t.Error(diff)
		}
		if run.Annotations["why"] != "test" || run.Spec.JobName != "in-file" || run.Spec.Coalesce != v1alpha1.CoalesceSkip {
			t.Errorf("the plugin changed the manifest: %+v", run)
		}

		code = s.run("trigger", "other", "-f", "-", "--name=b", "--key=k2", "--coalesce=false", "--idempotency-key=j", "--input=null",
			"--label=env=dev", "--label=x=", "--ttl=1h", "--idempotency-ttl=24h", "--idempotency-release=OnFailure", "--image=new", "--", "c", "d")
		s.want(code, 0, "jobrun.batch.jobrun.dev/b created\n", "")
		run = s.read("b")
		if diff := cmp.Diff(map[string]string{"env": "dev", "team": "a", "x": ""}, run.Labels); diff != "" {
			t.Error(diff)
		}
		got := run.Spec
		if got.JobName != "other" || got.ConcurrencyKey != "k2" || got.Coalesce != "" || got.IdempotencyKey != "j" || *got.TTLSecondsAfterFinished != 3600 {
			t.Errorf("the flags did not override the manifest: %+v", got)
		}
		if got.IdempotencyTTLSeconds != 86400 || got.IdempotencyRelease != v1alpha1.IdempotencyReleaseOnFailure {
			t.Errorf("the idempotency key lasts for %d, %s", got.IdempotencyTTLSeconds, got.IdempotencyRelease)
		}
		one := got.Template.Spec.Template.Spec.Containers[0]
		if one.Image != "new" || !cmp.Equal(one.Command, []string{"c", "d"}) || len(one.Args) != 0 {
			t.Errorf("the first container is %+v", one)
		}
		if two := got.Template.Spec.Template.Spec.Containers[1]; two.Image != "other" {
			t.Errorf("the second container is %+v", two)
		}
	})
}

func TestInputs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "input.json")
	if err := os.WriteFile(path, []byte("{\"from\": \"file\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		`{"a": 12345678901234567890}`: `{"a": 12345678901234567890}`,
		"@" + path:                    `{"from": "file"}`,
		"-":                           `["from stdin"]`,
	} {
		input, err := parseJSON("input", flag, &sources{stdin: lines(" [\"from stdin\"]\n")})
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, "the input of "+flag, string(input.Raw), want)
	}
}

func TestTriggerOfOneContainer(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.want(s.run("trigger", "hello", "--name=a", "--image=busybox", "--", "echo", "--name", "hello"), 0, "jobrun.batch.jobrun.dev/a created\n", "")
		job := s.read("a").Spec.Template.Spec
		pod := job.Template.Spec
		if *job.BackoffLimit != 0 || pod.RestartPolicy != "Never" || len(pod.Containers) != 1 || pod.Containers[0].Image != "busybox" ||
			!cmp.Equal(pod.Containers[0].Command, []string{"echo", "--name", "hello"}) {
			t.Errorf("the Job is %+v", job)
		}
	})
}

func TestTriggerIntoTheManifestsNamespace(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.stdin = "metadata: {namespace: there, name: a}\nspec: {jobName: sync}"
		s.want(s.run("trigger", "-f", "-", "-o", "jsonpath={.metadata.namespace}"), 0, "there", "")
	})
}

func TestTriggerAndWait(t *testing.T) {
	for name, tc := range map[string]struct {
		args           []string
		admit          func(*v1alpha1.JobRun) error
		end            func(*v1alpha1.JobRunStatus)
		code           int
		stdout, stderr string
	}{
		"completed": {
			end:    completed,
			stdout: "jobrun.batch.jobrun.dev/a created\njobrun.batch.jobrun.dev/a completed\noutput: {\"synced\":42}\n",
			stderr: "a: Completed\n",
		},
		"failed": {
			end: failed, code: 1,
			stdout: "jobrun.batch.jobrun.dev/a created\n",
			stderr: "a: Failed: it broke\nerror: run a failed: it broke\n",
		},
		"failed, for a program": {
			args: []string{"-o", "jsonpath={.status.phase}"}, end: failed, code: 1,
			stdout: "Failed", stderr: "~error: run a failed: it broke",
		},
		"timeout": {
			args: []string{"--timeout=3s"}, code: 4,
			stdout: "jobrun.batch.jobrun.dev/a created\n",
			stderr: "error: timed out after 3s; run a goes on. To wait again: `kubectl jobrun wait a`\n",
		},
		"receipt": {
			admit: coalescedBy("next"),
			end: func(st *v1alpha1.JobRunStatus) {
				completed(st)
				st.Phase, st.RunRef = v1alpha1.PhaseCoalesced, &v1alpha1.ObjectReference{Name: "next", UID: "uid-next"}
			},
			stdout: "jobrun.batch.jobrun.dev/a coalesced: run next stands for it\n" +
				"jobrun.batch.jobrun.dev/a completed by run next\noutput: {\"synced\":42}\n",
			stderr: "a: Coalesced, run next stands for it\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.admit = tc.admit
				code := s.start(append([]string{"trigger", "sync", "--name=a", "--wait"}, tc.args...)...)
				s.settle()
				if tc.end != nil {
					time.Sleep(time.Second)
					s.update("a", tc.end)
				}
				s.want(<-code, tc.code, tc.stdout, tc.stderr)
			})
		})
	}
}
