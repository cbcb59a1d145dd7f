// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func someKeys() []client.Object {
	key := func(namespace, name string, spec v1alpha1.RunKeySpec) *v1alpha1.RunKey {
		return &v1alpha1.RunKey{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(synctestBegins.Add(-time.Hour)),
		}, Spec: spec}
	}
	minuteAgo := &metav1.Time{Time: synctestBegins.Add(-time.Minute)}
	return []client.Object{
		key("default", "c-2", v1alpha1.RunKeySpec{
			Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: "b",
			Pending: &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: "waiter"}, Time: minuteAgo},
		}),
		key("default", "c-1", v1alpha1.RunKeySpec{
			Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: "a",
			Leased: &v1alpha1.LeasedRun{RunIdentity: v1alpha1.RunIdentity{RunName: "worker"}, Generation: 3}, Pending: &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: "next"}},
		}),
		key("default", "c-4", v1alpha1.RunKeySpec{
			Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: "free", Unconfirmed: []v1alpha1.UnconfirmedJob{{Job: "gone-1", Token: "t"}},
		}),
		key("default", "i-1", v1alpha1.RunKeySpec{
			Kind: v1alpha1.RunKeyIdempotency, JobName: "sync", Key: "hook", Owner: &v1alpha1.RunIdentity{RunName: "worker"},
		}),
		key("there", "c-3", v1alpha1.RunKeySpec{
			Kind: v1alpha1.RunKeyConcurrency, JobName: "other", Key: "x", Leased: &v1alpha1.LeasedRun{RunIdentity: v1alpha1.RunIdentity{RunName: "far"}, Generation: 1},
		}),
	}
}

func TestKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"of the namespace": {stdout: `JOB    KEY   RUN      GENERATION   STATE    WAITS    FOR
sync   a     worker   3            ending   next     -
sync   b     -        -            -        waiter   60s
`},
		"everywhere, wide": {args: []string{"-A", "-o", "wide"}, stdout: `NAMESPACE   JOB     KEY   RUN      GENERATION   STATE    WAITS    FOR   RUNKEY
default     sync    a     worker   3            ending   next     -     c-1
default     sync    b     -        -            -        waiter   60s   c-2
there       other   x     far      1            ending   -        -     c-3
`},
		"of a job":    {args: []string{"other", "-A"}, stdout: "~there       other   x     far"},
		"idempotency": {args: []string{"--idempotency"}, stdout: "JOB    KEY    OWNER    AGE\nsync   hook   worker   60m\n"},
		"name":        {args: []string{"-o", "name"}, stdout: "runkey.batch.jobrun.dev/c-1\nrunkey.batch.jobrun.dev/c-2\n"},
		"jsonpath":    {args: []string{"-o", "jsonpath={.items[*].spec.leased.runName}"}, stdout: "worker"},
		"yaml":        {args: []string{"-o", "yaml"}, stdout: "~kind: RunKeyList"},
		"none":        {args: []string{"other"}, stderr: "No key of job other is busy in namespace default.\n"},
		"two jobs":    {args: []string{"a", "b"}, code: 2, stderr: "~accepts at most 1 arg(s)"},
		"no terminal": {args: []string{"-w"}, code: 2, stderr: "~--watch needs a terminal on stdout"},
		"watch JSON":  {args: []string{"-w", "-o", "json"}, code: 2, stderr: "~--watch shows a table: leave -o out"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run(append([]string{"keys"}, tc.args...)...), tc.code, tc.stdout, tc.stderr)
			}, someKeys()...)
		})
	}
}

// A long key must not widen the table for everybody.
func TestLongKeysAreCut(t *testing.T) {
	long := "org_" + strings.Repeat("a", 248) + "zzzz"
	key := &v1alpha1.RunKey{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "c-1"}, Spec: v1alpha1.RunKeySpec{
		Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: long,
		Leased: &v1alpha1.LeasedRun{RunIdentity: v1alpha1.RunIdentity{RunName: "worker"}, Generation: 3},
	}}
	delivery := key.DeepCopy()
	delivery.Name, delivery.Spec.Kind, delivery.Spec.Leased = "i-1", v1alpha1.RunKeyIdempotency, nil
	short := "org_aaaaaaaaaaaaaaaa…aaaaaaaaaaaaaaazzzz"
	inScene(t, func(_ *testing.T, s *scene) {
		for _, args := range [][]string{{"keys"}, {"keys", "--idempotency"}, {"list"}} {
			s.want(s.run(args...), 0, "~sync   "+short+"   ", "")
			for _, format := range []string{"wide", "json"} {
				s.want(s.run(append(args, "-o", format)...), 0, "~"+long, "")
			}
		}
	}, key, delivery, aRun("worker", func(r *v1alpha1.JobRun) { r.Spec.ConcurrencyKey = long }))
}

func TestKeysThatOneMayNotRead(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.forbidden.Store("runkeys", true)
		s.want(s.run("keys"), 1, "", "~Error from server (Forbidden): runkeys.batch.jobrun.dev")
	})
}

func TestWatchKeys(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.columns = 40
		code := s.start("keys", "--watch")
		time.Sleep(3 * time.Second)
		if err := s.api.DeleteAllOf(t.Context(), &v1alpha1.RunKey{}, client.InNamespace("default")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		s.interrupt()
		s.want(<-code, 0, "~\x1b[H\x1b[2J\x1b[H2000-01-01T00:00:00Z\x1b[K\n\x1b[K\nJOB    KEY   RUN      GENERATION   STAT\x1b[K\n~"+
			"\x1b[H2000-01-01T00:00:02Z~\nsync   b     -        -            -   \x1b[K\n\x1b[J~"+
			"\x1b[H2000-01-01T00:00:04Z\x1b[K\n\x1b[K\nNo key is busy in namespace default.\x1b[K\n\x1b[J", "")
	}, someKeys()...)
}

func TestWatchKeysWhileTheServerIsAway(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.columns = 80
		s.away.Store(true)
		code := s.start("keys", "--watch")
		s.settle()
		s.away.Store(false)
		time.Sleep(3 * time.Second)
		s.forbidden.Store("runkeys", true)
		s.want(<-code, 1, "~The API server does not answer: try again~\nsync   a     worker", "~Error from server (Forbidden)")
	}, someKeys()...)
}

// A run whose Pods have not started does not execute.
func TestKeysOfRunsThatStart(t *testing.T) {
	key := func(run, token string) *v1alpha1.RunKey {
		return &v1alpha1.RunKey{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "c-" + run}, Spec: v1alpha1.RunKeySpec{
			Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: run,
			Leased: &v1alpha1.LeasedRun{RunIdentity: v1alpha1.RunIdentity{RunName: run, Token: token}, Generation: 1},
		}}
	}
	crashing := waits
	crashing.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	crashed := aPod("crashes-1-x", "crashes", time.Minute, crashing)
	crashed.Status.ContainerStatuses[0].LastTerminationState = hasDone
	inits := aPod("inits-1-x", "inits", time.Minute, waits)
	inits.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: runs}}
	says := func(text string) func(*v1alpha1.JobRun) {
		return func(r *v1alpha1.JobRun) { r.Status.Error = text }
	}
	objects := []client.Object{
		aRun("again", withTemplate, leased), key("again", "another token"),
		aRun("claimed", phase(v1alpha1.PhasePending)), key("claimed", "t-claimed"),
		aRun("crashes", withTemplate, leased, says("it exited")), key("crashes", "t-crashes"), crashed,
		aRun("ended", withTemplate, ending(failed)), key("ended", "t-ended"),
		aRun("inits", withTemplate, leased), key("inits", "t-inits"), inits,
		aRun("pulls", withTemplate, leased, says("no such\nimage")), key("pulls", "t-pulls"), aPod("pulls-1-x", "pulls", time.Minute, waits),
		aRun("runs", withTemplate, leased), key("runs", "t-runs"), aPod("runs-1-x", "runs", time.Minute, runs),
		aRun("works", leased, says("of the worker")), key("works", "t-works"),
	}
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("keys"), 0, `JOB    KEY       RUN       GENERATION   STATE      WAITS   FOR   OBSTACLE
sync   again     again     1            ending     -       -     -
sync   claimed   claimed   1            starting   -       -     -
sync   crashes   crashes   1            executes   -       -     it exited
sync   ended     ended     1            ending     -       -     -
sync   inits     inits     1            executes   -       -     -
sync   pulls     pulls     1            starting   -       -     no such image
sync   runs      runs      1            executes   -       -     -
sync   works     works     1            executes   -       -     -
`, "")
		s.forbidden.Store("pods", true)
		s.want(s.run("keys"), 0, "~sync   pulls     pulls     1            -       -       -\n", "")
	}, objects...)
}
