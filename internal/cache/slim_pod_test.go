// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// endedPod returns a Pod that ended, with the fields that a Pod of a cluster has.
func endedPod(name string) *corev1.Pod {
	end := &corev1.ContainerStateTerminated{
		ExitCode: 1, Reason: "Error", Message: "no such org", StartedAt: wrappers.At(1), FinishedAt: wrappers.At(9), ContainerID: "containerd://abc",
	}
	volume := corev1.VolumeMount{Name: "kube-api-access-x", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}
	env := []corev1.EnvVar{{Name: "JOBRUN_NAME", Value: "a"}, {Name: "JOBRUN_INPUT", Value: `{"org":"acme"}`}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: name, GenerateName: "a-1-", UID: types.UID("7f4d9a52-1a5c-4cf0-8a39-" + name), ResourceVersion: "123456",
			CreationTimestamp: wrappers.At(0), DeletionTimestamp: new(wrappers.At(9)), Finalizers: []string{batchv1.JobTrackingFinalizer},
			Labels: map[string]string{
				v1alpha1.LabelRun: "a", v1alpha1.LabelKey: "c-x", v1alpha1.LabelJobName: "sync", batchv1.JobNameLabel: "a-1",
				batchv1.ControllerUidLabel: "7f4d9a52-1a5c-4cf0-8a39-000000000000", "job-name": "a-1", "controller-uid": "7f4d9a52", "theirs": "y",
			},
			Annotations: map[string]string{
				v1alpha1.AnnotationToken: "0dbf4aa7-72c0-4c59-b671-b50266db939f", v1alpha1.AnnotationGeneration: "1", "theirs": "y",
				batchv1.JobCompletionIndexAnnotation: "3",
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "a-1", UID: "7f4d9a52"}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node", ServiceAccountName: "default",
			Containers: []corev1.Container{{Name: "main", Image: "busybox:1.37", Env: env, VolumeMounts: []corev1.VolumeMount{volume}}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory.", HostIP: "10.0.0.1", PodIP: "10.1.0.1",
			QOSClass: corev1.PodQOSBurstable, StartTime: new(wrappers.At(0)),
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "PodFailed", LastTransitionTime: wrappers.At(9)},
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node", LastTransitionTime: wrappers.At(1)},
				{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "evicted"},
			},
			InitContainerStatuses: []corev1.ContainerStatus{{
				Name: "init", Image: "busybox:1.37", ImageID: "sha256:1", RestartCount: 2,
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}},
			}},
			ContainerStatuses: []corev1.ContainerStatus{
				{
					Name: "main", Image: "busybox:1.37", ImageID: "sha256:2", ContainerID: "containerd://abc",
					State: corev1.ContainerState{Terminated: end}, LastTerminationState: corev1.ContainerState{Terminated: end},
				},
				{Name: "side", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: wrappers.At(1)}}},
			},
		},
	}
}

func TestSlimPod(t *testing.T) {
	whole := endedPod("p")
	got := slim(t, whole.DeepCopy()).(*corev1.Pod)
	end := &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "no such org", FinishedAt: wrappers.At(9)}
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "p", UID: whole.UID, ResourceVersion: "123456",
			CreationTimestamp: wrappers.At(0), DeletionTimestamp: new(wrappers.At(9)),
			Labels: map[string]string{
				v1alpha1.LabelRun: "a", v1alpha1.LabelKey: "c-x", batchv1.ControllerUidLabel: whole.Labels[batchv1.ControllerUidLabel],
			},
			Annotations: map[string]string{
				v1alpha1.AnnotationToken: whole.Annotations[v1alpha1.AnnotationToken], batchv1.JobCompletionIndexAnnotation: "3",
			},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodFailed, Reason: "Evicted", Message: whole.Status.Message,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node"},
				{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "evicted"},
			},
			InitContainerStatuses: []corev1.ContainerStatus{{
				Name:  "init",
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}},
			}},
			ContainerStatuses: []corev1.ContainerStatus{
				{Name: "main", State: corev1.ContainerState{Terminated: end}, LastTerminationState: corev1.ContainerState{Terminated: end}},
				{Name: "side", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What is read of a Pod is the same for the slim one.
func TestSlimPodTellsTheSame(t *testing.T) {
	change := map[string]func(*corev1.Pod){
		"failed":    func(*corev1.Pod) {},
		"disrupted": func(pod *corev1.Pod) { pod.Status.Reason = "" },
		"succeeded": func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodSucceeded },
		"unscheduled": func(pod *corev1.Pod) {
			pod.DeletionTimestamp, pod.Status.Phase = nil, corev1.PodPending
		},
		"waiting": func(pod *corev1.Pod) {
			pod.DeletionTimestamp, pod.Status.Phase, pod.Status.Conditions = nil, corev1.PodPending, nil
		},
	}
	for name, change := range change {
		t.Run(name, func(t *testing.T) {
			whole := endedPod("p")
			change(whole)
			cut := slim(t, whole.DeepCopy()).(*corev1.Pod)
			if diff := cmp.Diff(read(whole), read(cut)); diff != "" {
				t.Errorf("(-whole +slim)\n%s", diff)
			}
			if diff := cmp.Diff(podJob(whole), podJob(cut)); diff != "" {
				t.Errorf("field (-whole +slim)\n%s", diff)
			}
		})
	}
}

// read returns what the operator reads of a Pod.
func read(pod *corev1.Pod) []any {
	return []any{
		executor.IsPodOver(pod), executor.PodObstacle(pod), executor.CompletionIndex(pod), executor.EndOfPod(pod),
		executor.OutputOf([]corev1.Pod{*pod}, "main"), executor.FailureOf([]corev1.Pod{*pod}, "main"),
	}
}

// The memory of the operator grows with the Pods of all runs, those of ended runs included.
func TestSlimPodsAreSmall(t *testing.T) {
	const (
		pods   = 5000
		budget = 3200 // bytes, the cache's own maps and both indexes included
	)
	usual := endedPod("p")
	usual.Status.Conditions, usual.Status.InitContainerStatuses = usual.Status.Conditions[:1], nil
	usual.Status.ContainerStatuses = usual.Status.ContainerStatuses[:1]
	text, err := json.Marshal(usual)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	store := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{
		toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc,
		FieldPodJob:               func(object any) ([]string, error) { return podJob(object.(*corev1.Pod)), nil },
	})
	for i := range pods {
		pod := &corev1.Pod{}
		if err := json.Unmarshal(text, pod); err != nil {
			t.Fatal(err)
		}
		pod.Name = fmt.Sprintf("run-%d-1-abcde", i)
		pod.Labels[batchv1.ControllerUidLabel] = fmt.Sprintf("7f4d9a52-1a5c-4cf0-8a39-%012d", i)
		if err := store.Add(slim(t, pod)); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / pods
	if each > budget {
		t.Errorf("a Pod takes %d bytes, more than %d", each, budget)
	}
	t.Logf("a Pod takes %d bytes", each)
	runtime.KeepAlive(store)
}
