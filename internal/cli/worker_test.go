// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestWorkerCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		stderr string
	}{
		"no job":            {[]string{"--", "true"}, "~which job? Name it with --job~worker --help"},
		"no command":        {[]string{"--job=sync"}, "~which command? Name it after --"},
		"nothing behind --": {[]string{"--job=sync", "--"}, "~which command? Name it after --"},
		"no --":             {[]string{"--job=sync", "true"}, "~\"true\": the command follows --"},
		"a job in front":    {[]string{"sync", "--", "true"}, "~\"sync\": jobs are named by --job"},
		"not found":         {[]string{"--job=sync", "--", "no-such-command"}, "~the command cannot be run: exec: \"no-such-command\": executable file not found"},
		"no job's name":     {[]string{"--job=Sync_", "--", "true"}, "~--job Sync_: "},
		"no holder's name":  {[]string{"--job=sync", "--name=job/a", "--", "true"}, "~--name job/a: "},
		"none at once":      {[]string{"--job=sync", "--concurrency=0", "--", "true"}, "~--concurrency 0: must be at least 1"},
		"a short lease":     {[]string{"--job=sync", "--lease-duration=1500ms", "--", "true"}, "~--lease-duration 1.5s: must be whole seconds"},
		"negative grace":    {[]string{"--job=sync", "--grace-period=-1s", "--", "true"}, "~--grace-period -1s: must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run(append([]string{"worker"}, tc.args...)...), 2, "", tc.stderr)
			})
		})
	}
}

// untilEnded runs a worker until a run has an outcome, presses Ctrl-C and returns the run.
func (s *scene) untilEnded(name string, args ...string) *v1alpha1.JobRun {
	s.t.Helper()
	code := s.start(append([]string{"worker"}, args...)...)
	for range 60 {
		time.Sleep(time.Second)
		if s.read(name).Outcome() != "" {
			break
		}
	}
	s.interrupt()
	if got := <-code; got != 0 {
		s.t.Errorf("exit code %d\n%s", got, s.stderr.String())
	}
	return s.read(name)
}

func TestWorkerExecutesACommand(t *testing.T) {
	script := `cat; echo "$JOBRUN_NAME $JOBRUN_NAMESPACE $JOBRUN_JOB_NAME $JOBRUN_CONCURRENCY_KEY $JOBRUN_GENERATION $JOBRUN_INPUT"
		echo noise >&2; echo '{"synced": 42}'`
	for name, tc := range map[string]struct {
		run    *v1alpha1.JobRun
		args   []string
		stdout string
	}{
		"with input": {
			aRun("a", phase(v1alpha1.PhasePending), func(r *v1alpha1.JobRun) { r.Spec.Input = jsonOf(`{"org":"acme"}`) }), nil,
			"{\"org\":\"acme\"}\na default sync acme 1 {\"org\":\"acme\"}\n{\"synced\": 42}\n",
		},
		"without": {
			aRun("a", phase(v1alpha1.PhasePending)), []string{"--concurrency=2"},
			"[a] null\n[a] a default sync acme 1 null\n[a] {\"synced\": 42}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(t *testing.T, s *scene) {
				run := s.untilEnded("a", append(tc.args, "--job=sync", "--name=w", "--", "sh", "-c", script)...)
				wantText(t, "stdout", s.stdout.String(), tc.stdout)
				wantText(t, "stderr", s.stderr.String(), "~noise\n~msg=\"Execute a run\"~run=a generation=1~msg=\"The command has ended\"")
				if run.Status.Phase != v1alpha1.PhaseCompleted || string(run.Status.Output.Raw) != `{"synced":42}` {
					t.Errorf("status %+v", run.Status)
				}
				if l := run.Status.Lease; l.HolderIdentity != "w" || l.DurationSeconds != 30 {
					t.Errorf("lease %+v", l)
				}
			}, tc.run)
		})
	}
}

func TestWorkerFailsARun(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		run := s.untilEnded("a", "--job=sync", "--", "sh", "-c", "echo no such org >&2; exit 3")
		if run.Status.Phase != v1alpha1.PhaseFailed || run.Status.Error != "exit code 3: no such org" || run.Status.Output != nil {
			t.Errorf("status %+v", run.Status)
		}
	}, aRun("a", phase(v1alpha1.PhasePending)))
}

func TestWorkerThatCannotStartItsCommandFailsNothing(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/there/is/no/such/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	inScene(t, func(t *testing.T, s *scene) {
		s.want(s.run("worker", "--job=sync", "--", script), 1, "", "~error: cannot start the command: ~no such file or directory")
		if st := s.read("a").Status; st.Error != "" || st.Lease.HolderIdentity != "" || st.Lease.Generation != 2 {
			t.Errorf("it was not given back: %+v, %+v", st, st.Lease)
		}
	}, aRun("a", phase(v1alpha1.PhasePending)))
}
