// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

const (
	// mostNamed bounds the objects that a message names.
	mostNamed = 10
	// quietInterval is the time between two looks at the objects.
	quietInterval = 500 * time.Millisecond
	// requestPatience bounds the requests of one look at the objects.
	requestPatience = 30 * time.Second
)

// awaitQuiet waits until nothing is under way any more: every JobRun has its outcome, no concurrency key is busy, no Job
// is unfinished, and everything with a TTL or in a doomed namespace is deleted.
func (w *world) awaitQuiet(ctx context.Context, clock *stopwatch) error {
	began := clock.now()
	restless, err := w.await(ctx, w.restless)
	if err != nil {
		return fmt.Errorf("not quiet %.0fs after the faults: %s", (clock.now() - began).Seconds(), restless)
	}
	w.cluster.say("quiet %.1fs after the faults", (clock.now() - began).Seconds())
	return nil
}

// await calls look until it finds nothing. If that takes longer than config.Patience, it returns what look found last.
func (w *world) await(ctx context.Context, look func(context.Context) ([]string, error)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, w.config.Patience)
	defer cancel()
	for {
		found, err := w.look(ctx, look)
		if err == nil && len(found) == 0 {
			return "", nil
		}
		select {
		case <-ctx.Done():
			return some(found) + errorText(err), ctx.Err()
		case <-time.After(quietInterval):
		}
	}
}

func (w *world) look(ctx context.Context, look func(context.Context) ([]string, error)) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	return look(ctx)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}

func some(names []string) string {
	if len(names) > mostNamed {
		return strings.Join(names[:mostNamed], "; ") + fmt.Sprintf(" and %d more", len(names)-mostNamed)
	}
	return strings.Join(names, "; ")
}

// restless describes the objects for which something is under way.
func (w *world) restless(ctx context.Context) ([]string, error) {
	var found []string
	all, err := w.everything(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all.runs {
		if run := &all.runs[i]; !run.HasOutcome() || run.Spec.TTLSecondsAfterFinished != nil {
			found = append(found, "JobRun "+run.Name+" is "+phaseOf(run))
		}
	}
	for i := range all.keys {
		if key := &all.keys[i]; !isNote(key) && (key.Spec.Kind == v1alpha1.RunKeyConcurrency || !w.owned(key, all.runs)) {
			found = append(found, fmt.Sprintf("RunKey %s of %q: pending %v, leased %v, owner %v",
				key.Name, key.Spec.Key, runkey.Pending(&key.Spec), runkey.Leased(&key.Spec), runkey.Owner(&key.Spec)))
		}
	}
	for i := range all.jobs {
		if job := &all.jobs[i]; !executor.IsFinished(job) || job.DeletionTimestamp != nil {
			found = append(found, "Job "+job.Name+" is unfinished")
		}
	}
	doomed, err := w.doomedNamespaces(ctx)
	return append(found, doomed...), err
}

// isNote reports whether a RunKey is left only for its notes about Jobs that may still appear. They go after a minute.
func isNote(key *v1alpha1.RunKey) bool {
	return key.Spec.Kind == v1alpha1.RunKeyConcurrency && runkey.IsFree(&key.Spec)
}

func (w *world) owned(key *v1alpha1.RunKey, runs []v1alpha1.JobRun) bool {
	return slices.ContainsFunc(runs, func(run v1alpha1.JobRun) bool { return runkey.IdentityOf(&run) == runkey.Owner(&key.Spec) })
}

func phaseOf(run *v1alpha1.JobRun) string {
	if run.Status.Phase == "" {
		return "without phase"
	}
	return string(run.Status.Phase)
}

// doomedNamespaces describes the doomed namespaces that still exist.
func (w *world) doomedNamespaces(ctx context.Context) ([]string, error) {
	var found []string
	for n := range w.doomed {
		name := w.doomedName(n + 1)
		err := w.cluster.api.Get(ctx, types.NamespacedName{Name: name}, &corev1.Namespace{})
		if err == nil {
			found = append(found, "namespace "+name+" is being deleted")
		} else if !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return found, nil
}

// everything has the objects in the namespace of the scenario.
type everything struct {
	runs []v1alpha1.JobRun
	keys []v1alpha1.RunKey
	jobs []batchv1.Job
	pods []corev1.Pod
}

func (w *world) everything(ctx context.Context) (everything, error) {
	var (
		runs v1alpha1.JobRunList
		keys v1alpha1.RunKeyList
		jobs batchv1.JobList
		pods corev1.PodList
	)
	for _, list := range []client.ObjectList{&runs, &keys, &jobs, &pods} {
		if err := w.cluster.api.List(ctx, list, client.InNamespace(w.namespace)); err != nil {
			return everything{}, err
		}
	}
	return everything{runs.Items, keys.Items, jobs.Items, pods.Items}, nil
}

// deleteAll deletes all JobRuns, and returns the objects that are left after config.Patience.
func (w *world) deleteAll(ctx context.Context) string {
	left, err := w.await(ctx, func(ctx context.Context) ([]string, error) {
		err := w.cluster.api.DeleteAllOf(ctx, &v1alpha1.JobRun{}, client.InNamespace(w.namespace),
			client.PropagationPolicy(metav1.DeletePropagationBackground))
		if err != nil {
			return nil, err
		}
		all, err := w.everything(ctx)
		return all.names(), err
	})
	if err != nil {
		return left
	}
	return ""
}

func (e everything) names() []string {
	var names []string
	for i := range e.runs {
		names = append(names, "JobRun "+e.runs[i].Name)
	}
	for i := range e.keys {
		if !isNote(&e.keys[i]) {
			names = append(names, "RunKey "+e.keys[i].Name)
		}
	}
	for i := range e.jobs {
		names = append(names, "Job "+e.jobs[i].Name)
	}
	for i := range e.pods {
		names = append(names, "Pod "+e.pods[i].Name)
	}
	return names
}
