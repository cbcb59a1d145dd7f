// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
)

// testProvider is a provider with its cache and its reports.
type testProvider struct {
	*provider
	cache   cache.Indexer
	reports chan *corev1.Pod
}

func startProvider(t *testing.T) testProvider {
	t.Helper()
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	p := testProvider{
		provider: newProvider(t.TempDir(), startLauncher(t), corelisters.NewPodLister(indexer)),
		cache:    indexer,
		reports:  make(chan *corev1.Pod, 100),
	}
	p.NotifyPods(t.Context(), func(pod *corev1.Pod) { p.reports <- pod })
	t.Cleanup(func() { p.drain(0) })
	return p
}

func (p testProvider) create(t *testing.T, pod *corev1.Pod) *podRun {
	t.Helper()
	if err := p.cache.Add(pod); err != nil {
		t.Fatal(err)
	}
	if err := p.CreatePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	return p.find(pod.Namespace, pod.Name)
}

// awaitPhase waits for a report of this phase.
func (p testProvider) awaitPhase(t *testing.T, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	timeout := time.After(soon)
	for {
		select {
		case pod := <-p.reports:
			if pod.Status.Phase == phase {
				return pod
			}
		case <-timeout:
			t.Fatalf("the Pod is not reported as %s", phase)
		}
	}
}

func TestProviderReportsEachPhase(t *testing.T) {
	p := startProvider(t)
	p.create(t, podOf(never, shell("m", "sleep 0.1")))
	for _, phase := range []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded} {
		if status := p.awaitPhase(t, phase).Status; status.PodIP != address || status.StartTime == nil {
			t.Errorf("%s: got %v", phase, status)
		}
	}
}

func TestDeleteLeavesTheGracePeriod(t *testing.T) {
	p := startProvider(t)
	file := filepath.Join(t.TempDir(), "pid")
	run := p.create(t, podOf(never, shell("m", "trap 'exit 0' TERM; echo 1 > "+file+"; while true; do sleep 0.01; done")))
	pidIn(t, file)
	pod := run.pod.DeepCopy()
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = new(metav1.Now()), new(int64(60))
	if err := p.DeletePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	p.awaitPhase(t, corev1.PodSucceeded)
	if got, err := p.GetPod(t.Context(), pod.Namespace, pod.Name); err != nil || got.Status.Phase != corev1.PodSucceeded {
		t.Errorf("a Pod is known as long as its object is there, got %v", err)
	}
}

func TestGoneObjectLeavesNothing(t *testing.T) {
	p := startProvider(t)
	file := filepath.Join(t.TempDir(), "pid")
	run := p.create(t, podOf(never, shell("m", "trap '' TERM; echo $$$$ > "+file+"; while true; do sleep 0.01; done")))
	pid := pidIn(t, file)
	if err := p.DeletePod(t.Context(), run.snapshot()); err != nil {
		t.Fatal(err)
	}
	expectGone(t, pid)
	if _, err := p.GetPod(t.Context(), "default", "pod"); !errdefs.IsNotFound(err) {
		t.Errorf("the Pod is still known: %v", err)
	}
	if _, err := os.Stat(run.dir); !os.IsNotExist(err) {
		t.Errorf("its files are still there: %v", err)
	}
	if err := p.DeletePod(t.Context(), run.snapshot()); !errdefs.IsNotFound(err) {
		t.Errorf("a second deletion finds nothing, got %v", err)
	}
}

// The Pod is deleted by force and created again before its node has noticed.
func TestNewPodOfTheSameName(t *testing.T) {
	p := startProvider(t)
	old := podOf(never, shell("m", "sleep 1000"))
	run := p.create(t, old)
	again := old.DeepCopy()
	again.UID = "5678"
	again.Spec.Containers[0] = shell("m", "true")
	if err := p.cache.Update(again); err != nil {
		t.Fatal(err)
	}
	if _, err := p.GetPod(t.Context(), "default", "pod"); !errdefs.IsNotFound(err) {
		t.Errorf("the new Pod is taken for the old: %v", err)
	}
	p.create(t, again)
	ended(t, run)
	if pod := p.awaitPhase(t, corev1.PodSucceeded); pod.UID != again.UID {
		t.Errorf("got %s", pod.UID)
	}
}

func TestRefusedPods(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	before := podOf(always, shell("m", "touch "+file))
	before.Status = corev1.PodStatus{StartTime: new(metav1.Now()), ContainerStatuses: []corev1.ContainerStatus{
		{Name: "m", State: runs.State, Ready: true},
	}}
	sidecar := podOf(never, shell("m", "touch "+file))
	sidecar.Spec.InitContainers = []corev1.Container{shell("s", "touch "+file)}
	sidecar.Spec.InitContainers[0].RestartPolicy = new(corev1.ContainerRestartPolicyAlways)

	for reason, pod := range map[string]*corev1.Pod{"NodeRestarted": before, "Unsupported": sidecar} {
		p := startProvider(t)
		p.create(t, pod)
		status := p.awaitPhase(t, corev1.PodFailed).Status
		if status.Reason != reason || status.Message == "" || status.ContainerStatuses[0].State.Running != nil {
			t.Errorf("got %v, want %s", status, reason)
		}
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("%s: the Pod ran", reason)
		}
	}
}

func TestDrain(t *testing.T) {
	p := startProvider(t)
	file := filepath.Join(t.TempDir(), "pid")
	p.create(t, podOf(always, shell("m", "trap '' TERM; echo $$$$ > "+file+"; while true; do sleep 0.01; done")))
	pid := pidIn(t, file)
	p.drain(50 * time.Millisecond)
	expectGone(t, pid)
	p.awaitPhase(t, corev1.PodFailed)
	if err := p.CreatePod(t.Context(), podOf(never, shell("m", "true"))); err == nil {
		t.Error("a node that shuts down starts no Pods")
	}
}

func TestContainerLogs(t *testing.T) {
	p := startProvider(t)
	ended(t, p.create(t, podOf(never, shell("m", "echo one; echo two"), corev1.Container{Name: "n"})))
	cases := map[string]struct {
		pod, container string
		opts           api.ContainerLogOpts
		want, err      string
	}{
		"all":         {"pod", "m", api.ContainerLogOpts{}, "one\ntwo\n", ""},
		"tail":        {"pod", "m", api.ContainerLogOpts{Tail: 1}, "two\n", ""},
		"limit":       {"pod", "m", api.ContainerLogOpts{LimitBytes: 5}, "one\nt", ""},
		"follow":      {"pod", "m", api.ContainerLogOpts{Follow: true}, "one\ntwo\n", ""},
		"no pod":      {"other", "m", api.ContainerLogOpts{}, "", "no logs of pod default/other"},
		"not started": {"pod", "n", api.ContainerLogOpts{}, "", "has not started"},
		"no previous": {"pod", "m", api.ContainerLogOpts{Previous: true}, "", "previous terminated"},
		"timestamps":  {"pod", "m", api.ContainerLogOpts{Timestamps: true}, "", "no timestamps"},
		"since":       {"pod", "m", api.ContainerLogOpts{SinceSeconds: 1}, "", "no timestamps"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			reader, err := p.containerLogs(t.Context(), "default", c.pod, c.container, c.opts)
			if err != nil {
				if c.err == "" || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			defer reader.Close()
			if got, err := io.ReadAll(reader); err != nil || string(got) != c.want || c.err != "" {
				t.Errorf("got %q, %v, want %q %s", got, err, c.want, c.err)
			}
		})
	}
}

func deleting(pod *corev1.Pod, phase corev1.PodPhase) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.DeletionTimestamp, pod.Status.Phase = new(metav1.Now()), phase
	return pod
}

// deletions returns the options of the delete requests that reached the API.
func deletions(client *fake.Clientset) []metav1.DeleteOptions {
	var all []metav1.DeleteOptions
	for _, action := range client.Actions() {
		if deletion, ok := action.(clienttesting.DeleteActionImpl); ok {
			all = append(all, deletion.DeleteOptions)
		}
	}
	return all
}

func TestLastStatusRemovesThePod(t *testing.T) {
	pod := podOf(never)
	pod.Status.Phase = corev1.PodSucceeded
	cases := map[string]struct {
		answer  *corev1.Pod
		removed int
	}{
		"deleted and ended":   {deleting(pod, corev1.PodFailed), 1},
		"deleted, still runs": {deleting(pod, corev1.PodRunning), 0},
		"ended":               {pod, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client := fake.NewSimpleClientset(pod)
			client.PrependReactor("patch", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
				patch := string(action.(clienttesting.PatchAction).GetPatch())
				if action.GetSubresource() != "status" || !strings.Contains(patch, `"uid":"1234"`) || strings.Contains(patch, "finalizers") {
					t.Errorf("not a status of this very Pod: %s", patch)
				}
				return true, c.answer, nil
			})
			pods := podsGetter{client.CoreV1(), startProvider(t).provider}.Pods("default")
			if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			all := deletions(client)
			if len(all) != c.removed {
				t.Fatalf("got %v", all)
			}
			for _, options := range all {
				if *options.GracePeriodSeconds != 0 || *options.Preconditions.UID != pod.UID {
					t.Errorf("got %v", options)
				}
			}
		})
	}
}

func TestNoRemovalBeforeTheEnd(t *testing.T) {
	p := startProvider(t)
	client := fake.NewSimpleClientset()
	pods := podsGetter{client.CoreV1(), p.provider}.Pods("default")
	file := filepath.Join(t.TempDir(), "pid")
	run := p.create(t, podOf(never, shell("m", "trap 'sleep 0.2; exit 0' TERM; echo 1 > "+file+"; while true; do sleep 0.01; done")))
	pidIn(t, file)

	remove := func(uid types.UID) int {
		_ = pods.Delete(t.Context(), "pod", metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(uid))})
		return len(deletions(client))
	}
	if n := remove(run.pod.UID); n != 0 {
		t.Error("a Pod with processes left was removed")
	}
	ended(t, run)
	if n := remove(run.pod.UID); n != 1 {
		t.Error("a Pod that has ended was not removed")
	}
	if n := remove("other"); n != 2 {
		t.Error("a Pod that never ran here was not removed")
	}
}
