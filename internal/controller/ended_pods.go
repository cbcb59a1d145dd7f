// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/lru"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

const (
	// endedRunsKept bounds the number of runs in endedPods.
	endedRunsKept = 2048
	// endedPodsKept bounds the number of Pods of one run in endedPods.
	endedPodsKept = 8
)

// endedPods remembers how the Pods of runs ended, until the outcome of the run is stored. So the output of a run survives
// the deletion of its Pods, if the watch has shown their end. Every replica remembers, because each may gain any home.
type endedPods struct {
	mu sync.Mutex
	// byToken holds the Pods of each run by the token of the run.
	byToken *lru.Cache
}

func newEndedPods() *endedPods { return &endedPods{byToken: lru.New(endedRunsKept)} }

// note remembers a Pod. Of too many Pods of a run, it forgets the one with the highest completion index, or else the one
// that ended first.
func (m *endedPods) note(pod *corev1.Pod) {
	token := pod.Annotations[v1alpha1.AnnotationToken]
	if token == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var pods []*corev1.Pod
	if known, ok := m.byToken.Get(token); ok {
		pods = slices.DeleteFunc(slices.Clone(known.([]*corev1.Pod)), func(p *corev1.Pod) bool { return p.UID == pod.UID })
	}
	pods = append(pods, pod)
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(executor.CompletionIndex(a), executor.CompletionIndex(b)), executor.EndOfPod(b).Compare(executor.EndOfPod(a)))
	})
	m.byToken.Add(token, pods[:min(len(pods), endedPodsKept)])
}

// of returns the remembered Pods of a Job of the run with a token.
func (m *endedPods) of(token string, job types.UID) []*corev1.Pod {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.byToken.Get(token)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(known.([]*corev1.Pod)), func(pod *corev1.Pod) bool {
		return pod.Labels[batchv1.ControllerUidLabel] != string(job)
	})
}

// forget forgets the Pods of the run with a token.
func (m *endedPods) forget(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byToken.Remove(token)
}

// noteChange remembers a Pod that has ended or was deleted, and forgets the Pods of a run that has an outcome.
func (r *Reconciler) noteChange(ctx context.Context, before, after client.Object) {
	if run, ok := after.(*v1alpha1.JobRun); ok && run.HasOutcome() {
		r.ended.forget(runkey.IdentityOf(run).Token)
		return
	}
	pod, ok := after.(*corev1.Pod)
	if ok && !executor.IsPodOver(pod) {
		return
	}
	if after == nil {
		pod, ok = before.(*corev1.Pod)
	}
	if ok && r.awaitsOutcome(ctx, pod) {
		r.ended.note(pod)
	}
}

// awaitsOutcome reports whether the cache shows the run of a Pod without an outcome.
func (r *Reconciler) awaitsOutcome(ctx context.Context, pod *corev1.Pod) bool {
	run := &v1alpha1.JobRun{}
	name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[v1alpha1.LabelRun]}
	return r.Client.Get(ctx, name, run) == nil && !run.HasOutcome()
}

// watchEnds lets this process remember how Pods ended. With --leader-elect, the watches of the controller start only on the
// leader. This one works on every replica.
func (r *Reconciler) watchEnds(ctx context.Context, informers ctrlcache.Informers) error {
	for _, object := range []client.Object{&corev1.Pod{}, &v1alpha1.JobRun{}} {
		informer, err := informers.GetInformer(ctx, object, ctrlcache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch the ends of Pods: %w", err)
		}
		if _, err := informer.AddEventHandler(r.endsHandler(ctx)); err != nil {
			return fmt.Errorf("watch the ends of Pods: %w", err)
		}
	}
	return nil
}

func (r *Reconciler) endsHandler(ctx context.Context) toolscache.ResourceEventHandler {
	as := func(object any) client.Object {
		if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = tombstone.Obj
		}
		typed, _ := object.(client.Object)
		return typed
	}
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, isInInitialList bool) {
			if !isInInitialList { // The cache itself shows these Pods, and there may be many.
				r.noteChange(ctx, nil, as(object))
			}
		},
		UpdateFunc: func(before, after any) { r.noteChange(ctx, as(before), as(after)) },
		DeleteFunc: func(object any) { r.noteChange(ctx, as(object), nil) },
	}
}
