// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func definedRun() *wrappers.JobRunWrapper {
	return wrappers.MakeJobRun("a").Key("k").Created().DefinedBy(v1alpha1.ExecutorJob)
}

// The Job of a run is made from its definition as it is when the run starts. Status and Job say from which generation.
func TestJobOfADefinition(t *testing.T) {
	definition := wrappers.MakeJobDefinition().Template("main").Obj()
	c := newScene(t, makeKey("k").Pending("a").Obj(), definedRun().Input(`{"org":"acme"}`).Obj(), definition)
	c.rest(nil)
	jobs := c.jobs()
	if len(jobs) != 1 || jobs[0].Spec.Template.Spec.Containers[0].Name != "main" {
		t.Fatalf("jobs: %v", jobs)
	}
	if diff := cmp.Diff(definition.Reference(), executor.DefinitionOf(jobs[0])); diff != "" {
		t.Errorf("definition of the Job (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(definition.Reference(), c.run("a").Status.Definition); diff != "" {
		t.Errorf("status.definition (-want +got):\n%s", diff)
	}
	env := jobs[0].Spec.Template.Spec.Containers[0].Env
	if last := env[len(env)-1]; last != (corev1.EnvVar{Name: "JOBRUN_INPUT_ORG", Value: "acme"}) {
		t.Errorf("last variable: %v", last)
	}
}

// The Job that exists says which definition the run executes, also to a controller that reads a newer one.
func TestStatusDefinitionIsThatOfTheJob(t *testing.T) {
	older := wrappers.MakeJobDefinition().Template("main").Obj()
	newer := wrappers.MakeJobDefinition().Template("other").Obj()
	newer.Generation++
	run := definedRun().Obj()
	job := executor.NewDefinedJob(run, older, 1, "5")
	job.UID = "uid-a-1"
	c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), run, job, newer)
	c.rest(nil)
	if diff := cmp.Diff(older.Reference(), c.run("a").Status.Definition); diff != "" {
		t.Errorf("status.definition (-want +got):\n%s", diff)
	}
}

// A definition that the cache does not show may be newer than the cache.
func TestDefinitionIsReadLive(t *testing.T) {
	c := newScene(t, makeKey("k").Pending("a").Obj(), definedRun().Obj())
	c.Live = wrappers.NewStore(nil, wrappers.MakeJobDefinition().Template("main").Obj())
	if o := c.look(); o.Definition == nil {
		t.Error("the definition was not found")
	}
}

// If the definition goes right after the claim, the leased run has no Job until it is back. It says why.
func TestDefinitionGoneAfterTheClaim(t *testing.T) {
	c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), definedRun().Obj())
	c.rest(nil)
	run := c.run("a")
	if run.Status.Phase != v1alpha1.PhaseLeased || run.Status.Error != "JobDefinition job does not exist" || len(c.jobs()) > 0 {
		t.Fatalf("phase %s, error %q, %d Jobs", run.Status.Phase, run.Status.Error, len(c.jobs()))
	}

	definition := wrappers.MakeJobDefinition().Template("main").Obj()
	definition.ResourceVersion = ""
	if err := c.store.Create(t.Context(), definition); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Request{c.req}, c.RequestsForChange(t.Context(), nil, definition)); diff != "" {
		t.Errorf("enqueued (-want +got):\n%s", diff)
	}
	c.rest(nil) // At once: the wake-up has ended the backoff.
	if run := c.run("a"); run.Status.JobRef == nil || run.Status.Error != "" {
		t.Errorf("jobRef %v, error %q", run.Status.JobRef, run.Status.Error)
	}
}

func TestDefinitionsWakeRuns(t *testing.T) {
	made := func() *wrappers.JobDefinitionWrapper { return wrappers.MakeJobDefinition().Template("main") }
	next := made().Suspended().Obj()
	next.Generation++
	counted := made().Obj()
	counted.Status.Waiting = new(int32(4))
	for name, tc := range map[string]struct {
		before, after client.Object
		want          bool
	}{
		"created":   {nil, made().Obj(), true},
		"deleted":   {made().Obj(), nil, true},
		"changed":   {made().Obj(), next, true},
		"not ready": {made().Obj(), made().NotReady("?").Obj(), true},
		"counted":   {made().Obj(), counted, false},
	} {
		t.Run(name, func(t *testing.T) {
			waits := definedRun().Pending().Obj()
			ended := wrappers.MakeJobRun("b").Key("l").Created().DefinedBy(v1alpha1.ExecutorJob).Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj()
			executes := wrappers.MakeJobRun("c").Key("m").Created().DefinedBy(v1alpha1.ExecutorWorker).Leased(1, "5").Holder("w").Obj()
			inline := wrappers.MakeKeyedRun("d").Key("n").Pending().Obj()
			c := newScene(t, waits, ended, executes, inline)
			var want []Request
			if tc.want {
				want = []Request{c.req}
			}
			if diff := cmp.Diff(want, c.RequestsForChange(t.Context(), tc.before, tc.after)); diff != "" {
				t.Errorf("enqueued (-want +got):\n%s", diff)
			}
		})
	}
}

// The output is that of the container that was the first one of the template, also after the definition has changed.
func TestOutputOfADefinedRun(t *testing.T) {
	run := definedRun().Obj()
	job := executor.NewDefinedJob(run, wrappers.MakeJobDefinition().Template("main").Obj(), 1, "5")
	if got := executor.ResultContainer(run, job); got != "main" {
		t.Errorf("container %q", got)
	}
}
