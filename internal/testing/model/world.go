// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// World is the rest of the cluster: the Job controller, the kubelet, the garbage collector, and people.
// Each of its actions is one write, as in a real cluster, so that the operator can see every state in
// between.
type World struct {
	// Mishaps is the total number of mishaps that may happen. A mishap is a Pod that fails, a Job that is
	// suspended or misses its deadline, or an object that people delete.
	Mishaps int
	// KeepKeys keeps people from deleting RunKeys.
	KeepKeys bool
	// Cleans lets a cleaner delete each Job that has finished, at once or later.
	Cleans bool
	// Hangs reports whether a Pod runs until it is deleted. Nil means that none does.
	Hangs func(*corev1.Pod) bool
	// Sticks reports whether the image of a Pod cannot be pulled; nil if all images can.
	Sticks func(*corev1.Pod) bool

	sim     *Sim
	client  client.Client
	clock   clock.PassiveClock
	mishaps int // mishaps so far

	revision uint64   // the server's revision that listed was computed from
	listed   []action // the possible actions at that revision
}

// AddWorld adds the rest of the cluster to a simulation.
func (s *Sim) AddWorld(mishaps int) *World {
	w := &World{Mishaps: mishaps, sim: s, client: s.Server.Client(), clock: s.Clock}
	s.Add(w)
	return w
}

// action is one write that the rest of the cluster could do.
type action struct {
	who, what string
	subject   string // name of the object
	mishap    bool
	do        func(context.Context) error
}

// cluster has the objects on which actions depend. Do not modify them.
type cluster struct {
	jobs []*batchv1.Job
	pods []*corev1.Pod
	runs []*v1alpha1.JobRun
	keys []*v1alpha1.RunKey
}

// Steps implements Source.
func (w *World) Steps() []Step {
	if revision := w.sim.Server.Revision(); w.revision != revision {
		w.revision, w.listed = revision, w.actions(w.observe())
	}
	var steps []Step
	for _, a := range w.listed {
		if a.mishap && w.mishaps >= w.Mishaps {
			continue
		}
		steps = append(steps, Step{Who: a.who, What: a.what + " ", Detail: a.name, Hostile: a.mishap, Do: func() { w.take(a) }})
	}
	return steps
}

func (a action) name() string { return a.subject }

func (w *World) take(a action) {
	if a.mishap {
		w.mishaps++
	}
	if err := a.do(context.Background()); err != nil {
		w.sim.Fail("%s %s: %v", a.who, a.what, err)
	}
}

// Wake implements Source.
func (*World) Wake() time.Time { return time.Time{} }

func (w *World) observe() *cluster {
	s := w.sim.Server
	return &cluster{
		jobs: stored[*batchv1.Job](s),
		pods: stored[*corev1.Pod](s),
		runs: stored[*v1alpha1.JobRun](s),
		keys: stored[*v1alpha1.RunKey](s),
	}
}

// actions lists what could happen in a cluster.
func (w *World) actions(c *cluster) []action {
	var all []action
	for _, job := range c.jobs {
		all = append(all, w.runJob(job, c)...)
		all = append(all, w.collectGarbage(job, c)...)
	}
	for _, pod := range c.pods {
		all = append(all, w.releasePod(pod, c)...)
		all = append(all, w.runPod(pod)...)
		all = append(all, w.collectGarbage(pod, c)...)
	}
	return append(all, w.people(c)...)
}

func (c *cluster) podsOf(job *batchv1.Job) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, pod := range c.pods {
		if metav1.IsControlledBy(pod, job) {
			pods = append(pods, pod)
		}
	}
	return pods
}

// podName returns a free name for the next Pod of a Job. A Pod of an earlier Job of the same name may still
// exist and occupy a name.
func (c *cluster) podName(job *batchv1.Job) string {
	for n := 0; ; n++ {
		name := fmt.Sprintf("%s-%d", job.Name, n)
		if !slices.ContainsFunc(c.pods, func(pod *corev1.Pod) bool { return pod.Namespace == job.Namespace && pod.Name == name }) {
			return name
		}
	}
}

// exists reports whether the cluster has a Job or JobRun with that uid.
func (c *cluster) exists(uid types.UID) bool {
	return slices.ContainsFunc(c.jobs, func(o *batchv1.Job) bool { return o.UID == uid }) ||
		slices.ContainsFunc(c.runs, func(o *v1alpha1.JobRun) bool { return o.UID == uid })
}

// people lists the deletions that people could do by hand.
func (w *World) people(c *cluster) []action {
	if w.mishaps >= w.Mishaps {
		return nil
	}
	const who = "people"
	var all []action
	for _, job := range c.jobs {
		for _, policy := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan} {
			all = append(all, w.delete(who, "delete Job "+string(policy), job, client.PropagationPolicy(policy)).asMishap())
		}
	}
	for _, pod := range c.pods {
		all = append(all, w.delete(who, "delete Pod", pod).asMishap())
	}
	for _, key := range c.keys {
		if !w.KeepKeys {
			all = append(all, w.delete(who, "delete RunKey", key).asMishap())
		}
	}
	for _, run := range c.runs {
		all = append(all, w.delete(who, "delete JobRun", run).asMishap())
	}
	return all
}

// asMishap marks an action as a mishap: it counts against World.Mishaps, and its step is hostile.
func (a action) asMishap() action {
	a.mishap = true
	return a
}

// delete is the action that deletes an object. It spares a later object of the same name.
func (w *World) delete(who, what string, obj client.Object, opts ...client.DeleteOption) action {
	uid := obj.GetUID()
	return action{who: who, what: what, subject: obj.GetName(), do: func(ctx context.Context) error {
		return client.IgnoreNotFound(w.client.Delete(ctx, obj, append(opts, client.Preconditions{UID: &uid})...))
	}}
}

// update is the action that writes a changed copy of an object.
func update[T client.Object](w *World, who, what string, obj T, change func(T)) action {
	return action{who: who, what: what, subject: obj.GetName(), do: func(ctx context.Context) error {
		changed := obj.DeepCopyObject().(T)
		change(changed)
		return w.client.Update(ctx, changed)
	}}
}

// updateStatus is the action that writes a changed copy of an object's status.
func updateStatus[T client.Object](w *World, who, what string, obj T, change func(T)) action {
	return action{who: who, what: what, subject: obj.GetName(), do: func(ctx context.Context) error {
		changed := obj.DeepCopyObject().(T)
		change(changed)
		return w.client.Status().Update(ctx, changed)
	}}
}
