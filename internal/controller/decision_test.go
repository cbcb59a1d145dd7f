// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

var (
	makeRun            = wrappers.MakeJobRun
	makeKey            = wrappers.MakeRunKey
	makeIdempotencyKey = wrappers.MakeIdempotencyKey
	makeJob            = wrappers.MakeJob
	made               = wrappers.MakeKeyedRun
	keyless            = wrappers.MakeKeylessRun
	answered           = wrappers.MakeAbsorbed
	delivered          = wrappers.MakeDelivered
)

// tableCase is what is stored, and the whole plan that follows.
type tableCase struct {
	given []client.Object
	with  func(*scene)
	want  string
}

type decisions map[string]tableCase

func (table decisions) run(t *testing.T) {
	t.Helper()
	for name, tc := range table {
		t.Run(name, func(t *testing.T) {
			c := newScene(t, tc.given...)
			if tc.with != nil {
				tc.with(c)
			}
			o := c.observe()
			before := copied(o)
			plan := decision.Decide(decision.NewSnapshot(o))
			if diff := cmp.Diff(splitOps(oneSpace(tc.want)), splitOps(plan.String())); diff != "" {
				t.Errorf("plan (-want +got):\n%s\ngot: %s", diff, plan)
			}
			// The objects of an observation belong to the cache and must not change.
			if diff := cmp.Diff(before, copied(o)); diff != "" {
				t.Errorf("the decision changed what it saw:\n%s", diff)
			}
		})
	}
}

// copied returns copies of the objects of an observation.
func copied(o decision.Observation) []client.Object {
	var objects []client.Object
	if o.Key != nil {
		objects = append(objects, o.Key.DeepCopy())
	}
	for _, runs := range [][]*v1alpha1.JobRun{o.Runs, o.Relisted, o.Others} {
		for _, run := range runs {
			objects = append(objects, run.DeepCopy())
		}
	}
	for _, job := range o.Jobs {
		objects = append(objects, job.DeepCopy())
	}
	return objects
}

// runOfJob returns the run that a Job of the scene executes.
func runOfJob(c *scene, name string) runkey.Identity {
	for _, job := range c.jobs() {
		if job.Name == name {
			return executor.IdentityOf(job)
		}
	}
	panic("no Job " + name)
}
