// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// provider runs the Pods of the node. It is virtual-kubelet's PodLifecycleHandler
// and PodNotifier.
type provider struct {
	dir      string
	launcher *launcher
	pods     corelisters.PodLister
	api      *apiServer // nil if no container needs it
	notify   func(*corev1.Pod)

	mu       sync.Mutex
	runs     map[types.NamespacedName]*podRun
	draining bool
}

func newProvider(dir string, l *launcher, pods corelisters.PodLister) *provider {
	return &provider{dir: dir, launcher: l, pods: pods, runs: make(map[types.NamespacedName]*podRun)}
}

// NotifyPods sets the callback for statuses. It is called once, before any Pod is created.
func (p *provider) NotifyPods(_ context.Context, notify func(*corev1.Pod)) {
	p.notify = notify
}

// CreatePod starts a Pod.
func (p *provider) CreatePod(_ context.Context, pod *corev1.Pod) error {
	p.replace(pod)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return fmt.Errorf("node %s is shutting down", pod.Spec.NodeName)
	}
	run := newPodRun(pod, filepath.Join(p.dir, string(pod.UID)), p.launcher, p.notify)
	run.api = p.api
	p.runs[nameOf(pod)] = run
	if why := refusal(pod); why != nil {
		go run.fail(*why)
		return nil
	}
	go run.run()
	return nil
}

// refusal returns the reason why a Pod cannot run here, or nil.
func refusal(pod *corev1.Pod) *failure {
	if pod.Status.StartTime != nil {
		return &failure{"NodeRestarted", "The node's process was restarted while the Pod ran, and its containers ended with it"}
	}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil {
			return &failure{"Unsupported", fmt.Sprintf("Init container %s has a restartPolicy, which localnode does not support", c.Name)}
		}
	}
	return nil
}

// replace ends an earlier Pod of the same name whose object was deleted by force.
func (p *provider) replace(pod *corev1.Pod) {
	if run := p.find(pod.Namespace, pod.Name); run != nil {
		p.discard(run)
	}
}

// UpdatePod does nothing: labels do not affect processes, images are not used, and the deadline at the start of the Pod
// counts.
func (p *provider) UpdatePod(context.Context, *corev1.Pod) error {
	return nil
}

// DeletePod ends a Pod's processes. Their last status removes the Pod from the API. If the Pod has no deletionTimestamp,
// its object is already gone, and virtual-kubelet got the Pod from GetPod.
func (p *provider) DeletePod(_ context.Context, pod *corev1.Pod) error {
	run := p.find(pod.Namespace, pod.Name)
	if run == nil {
		return errdefs.NotFoundf("pod %s/%s does not run here", pod.Namespace, pod.Name)
	}
	if pod.DeletionTimestamp == nil {
		p.discard(run)
		return nil
	}
	run.stop(gracePeriod(pod))
	return nil
}

// discard ends a Pod at once and removes every trace of it.
func (p *provider) discard(run *podRun) {
	run.stop(0)
	<-run.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs[nameOf(run.pod)] == run {
		delete(p.runs, nameOf(run.pod))
	}
	_ = os.RemoveAll(run.dir)
}

// endBeforeRemoval reports whether a Pod's object may be removed from the API. If processes are left, it ends them, and
// their last status removes the object.
func (p *provider) endBeforeRemoval(namespace, name string, uid types.UID) bool {
	run := p.find(namespace, name)
	if run == nil || run.pod.UID != uid || run.hasEnded() {
		return true
	}
	grace := gracePeriod(run.pod)
	if pod, err := p.pods.Pods(namespace).Get(name); err == nil {
		grace = gracePeriod(pod)
	}
	run.stop(grace)
	return false
}

// drain ends all Pods within this grace period at most, and starts no other Pods.
func (p *provider) drain(grace time.Duration) {
	p.mu.Lock()
	p.draining = true
	runs := p.all()
	p.mu.Unlock()
	for _, run := range runs {
		run.stop(min(grace, gracePeriod(run.pod)))
	}
	for _, run := range runs {
		<-run.done
	}
}

// GetPod returns a Pod of this node. It does not find a Pod if another Pod of the API now has its name, because that one is
// new here.
func (p *provider) GetPod(_ context.Context, namespace, name string) (*corev1.Pod, error) {
	run := p.find(namespace, name)
	if run == nil {
		return nil, errdefs.NotFoundf("pod %s/%s does not run here", namespace, name)
	}
	if pod, err := p.pods.Pods(namespace).Get(name); err == nil && pod.UID != run.pod.UID {
		return nil, errdefs.NotFoundf("pod %s/%s has been replaced", namespace, name)
	}
	return run.snapshot(), nil
}

func (p *provider) GetPodStatus(ctx context.Context, namespace, name string) (*corev1.PodStatus, error) {
	pod, err := p.GetPod(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return &pod.Status, nil
}

func (p *provider) GetPods(context.Context) ([]*corev1.Pod, error) {
	p.mu.Lock()
	runs := p.all()
	p.mu.Unlock()
	var pods []*corev1.Pod
	for _, run := range runs {
		pods = append(pods, run.snapshot())
	}
	return pods, nil
}

// containerLogs serves kubectl logs.
func (p *provider) containerLogs(ctx context.Context, namespace, name, container string, opts api.ContainerLogOpts) (io.ReadCloser, error) {
	if opts.Timestamps || opts.SinceSeconds != 0 || !opts.SinceTime.IsZero() {
		return nil, errdefs.InvalidInput("localnode keeps no timestamps of log lines: leave out --timestamps, --since and --since-time")
	}
	run := p.find(namespace, name)
	if run == nil {
		return nil, errdefs.NotFoundf("localnode has no logs of pod %s/%s", namespace, name)
	}
	log := run.logOf(container, opts.Previous)
	if log == nil && opts.Previous {
		return nil, errdefs.InvalidInputf("previous terminated container %q in pod %q not found", container, name)
	}
	if log == nil {
		return nil, errdefs.InvalidInputf("container %q in pod %q has not started; kubectl describe pod %s tells why", container, name, name)
	}
	reader, err := log.open(ctx, opts.Tail, opts.Follow)
	if err != nil || opts.LimitBytes == 0 {
		return reader, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(reader, int64(opts.LimitBytes)), reader}, nil
}

func (p *provider) find(namespace, name string) *podRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs[types.NamespacedName{Namespace: namespace, Name: name}]
}

// all returns all Pods. The caller holds the mutex.
func (p *provider) all() []*podRun {
	runs := make([]*podRun, 0, len(p.runs))
	for _, run := range p.runs {
		runs = append(runs, run)
	}
	return runs
}

func nameOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}
