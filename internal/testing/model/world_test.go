// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// compareWorlds lets the World act on the model and on a real API server without controllers. On both, the
// same actions must be possible at every moment, they must succeed, and they must leave the same objects.
// So in the model no Job and no Pod reaches a state that a real API server does not allow.
func compareWorlds(t *testing.T, real client.Client) {
	sequences := 0
	rapid.Check(t, func(rt *rapid.T) {
		sequences++
		namespace := fmt.Sprintf("world-%d", sequences)
		if err := real.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
			rt.Fatal(err)
		}
		d := &differential{T: rt, namespace: namespace, sides: []*side{
			{name: "model", client: newTestServer(t).Client()},
			{name: "API server", client: real},
		}}
		d.both("create", d.createRunWithJob(rapid.Bool().Draw(rt, "fragile")))
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			d.act()
		}
		for _, s := range d.sides {
			d.cluster(s)
		}
		d.compareState()
	})
}

// createRunWithJob creates a RunKey, a JobRun, and a Job that the JobRun owns.
func (d *differential) createRunWithJob(fragile bool) operation {
	return func(s *side) (client.Object, error) {
		key := someKey("a")
		key.Namespace = d.namespace
		run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: d.namespace}, Spec: v1alpha1.JobRunSpec{JobName: "sync"}}
		for _, obj := range []client.Object{key, run} {
			if err := s.client.Create(d.Context(), obj); err != nil {
				return nil, err
			}
			s.uids = append(s.uids, obj.GetUID())
		}
		template := jobTemplate()
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "a-1", Namespace: d.namespace}, Spec: template.Spec}
		job.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(run, v1alpha1.GroupVersion.WithKind("JobRun"))}
		if fragile {
			job.Spec.BackoffLimit = ptr.To[int32](0)
		}
		err := s.client.Create(d.Context(), job)
		s.uids = append(s.uids, job.UID)
		return job, err
	}
}

// act takes one of the possible actions, the same on both sides.
func (d *differential) act() {
	possible := make([][]action, len(d.sides))
	names := make([][]string, len(d.sides))
	for i, s := range d.sides {
		w := &World{Mishaps: 1, client: s.client, clock: clock.RealClock{}}
		possible[i] = w.actions(d.cluster(s))
		for _, a := range possible[i] {
			names[i] = append(names[i], fmt.Sprintf("%s %s %s %v", a.who, a.what, a.subject, a.mishap))
		}
	}
	if diff := cmp.Diff(names[1], names[0]); diff != "" {
		d.Fatalf("the possible actions differ (- API server, + model):\n%s", diff)
	}
	if len(names[0]) == 0 {
		return
	}
	n := d.pick("action", len(names[0]))
	if d.pick("luck", 4) > 0 {
		n = 0 // most of the time, the first action
	}
	d.both(names[0][n], func(s *side) (client.Object, error) {
		for i := range d.sides {
			if d.sides[i] == s {
				err := possible[i][n].do(d.Context())
				if err != nil {
					d.Errorf("%s: %s: %v", s.name, names[i][n], err)
				}
				return nil, err
			}
		}
		return nil, nil
	})
}

// cluster lists the objects on which actions depend.
func (d *differential) cluster(s *side) *cluster {
	var (
		jobs batchv1.JobList
		pods corev1.PodList
		runs v1alpha1.JobRunList
		keys v1alpha1.RunKeyList
	)
	for _, list := range []client.ObjectList{&jobs, &pods, &runs, &keys} {
		if err := s.client.List(d.Context(), list, client.InNamespace(d.namespace)); err != nil {
			d.Fatal(err)
		}
	}
	c := &cluster{jobs: pointers(jobs.Items), pods: pointers(pods.Items), runs: pointers(runs.Items), keys: pointers(keys.Items)}
	for _, pod := range c.pods { // at most one is new
		if !slices.Contains(s.uids, pod.UID) {
			s.uids = append(s.uids, pod.UID)
		}
	}
	return c
}

func pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}
