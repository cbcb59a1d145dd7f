// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

const (
	// workers is the number of Pods that are handled at a time.
	workers = 32
	// shutdownGrace is how long the processes may take to end after the node gets a signal.
	shutdownGrace = 5 * time.Second
	// shutdownReport is how long the last reports to the API may take after that.
	shutdownReport = 3 * time.Second
	// statusInterval is how often the node reports that it is ready. It may stay NotReady for that long after an outage of
	// the API server.
	statusInterval = 10 * time.Second
)

// localNode is a node and its parts.
type localNode struct {
	name     string
	client   kubernetes.Interface
	launcher *launcher
	provider *provider
	listener net.Listener
	server   *http.Server
	events   record.EventBroadcaster
	caches   []informers.SharedInformerFactory
	pods     *node.PodController
	node     *node.NodeController
}

// newLocalNode returns a node that does not run yet. It already uses the directory and the address.
func newLocalNode(api *apiServer, name, stateDir, listen string, l *launcher) (*localNode, error) {
	listener, port, err := listenLoopback(listen)
	if err != nil {
		return nil, err
	}
	client := api.client
	n := &localNode{name: name, client: client, launcher: l, listener: listener, events: record.NewBroadcaster()}

	ownPods := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", name).String()
	}))
	others := informers.NewSharedInformerFactory(client, 0)
	n.caches = []informers.SharedInformerFactory{ownPods, others}

	podInformer := ownPods.Core().V1().Pods()
	if err := podInformer.Informer().SetTransform(adaptPod); err != nil {
		return nil, err
	}
	n.provider = newProvider(filepath.Join(stateDir, "pods"), l, podInformer.Lister())
	n.provider.api = api
	if n.server, err = kubeletServer(n.provider); err != nil {
		return nil, err
	}
	n.pods, err = node.NewPodController(node.PodControllerConfig{
		PodClient:         podsGetter{client.CoreV1(), n.provider},
		PodInformer:       podInformer,
		EventRecorder:     n.events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "localnode", Host: name}),
		Provider:          n.provider,
		ConfigMapInformer: others.Core().V1().ConfigMaps(),
		SecretInformer:    others.Core().V1().Secrets(),
		ServiceInformer:   others.Core().V1().Services(),

		SyncPodsFromKubernetesRateLimiter:        retryLimiter(),
		DeletePodsFromKubernetesRateLimiter:      retryLimiter(),
		SyncPodStatusFromProviderRateLimiter:     retryLimiter(),
		SyncPodsFromKubernetesShouldRetryFunc:    retryForEver,
		DeletePodsFromKubernetesShouldRetryFunc:  retryForEver,
		SyncPodStatusFromProviderShouldRetryFunc: retryForEver,
	})
	if err != nil {
		return nil, err
	}
	leases := client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	n.node, err = node.NewNodeController(node.NewNaiveNodeProvider(), nodeObject(name, port), client.CoreV1().Nodes(),
		node.WithNodeEnableLeaseV1(leases, node.DefaultLeaseDuration),
		node.WithNodeStatusUpdateInterval(statusInterval))
	return n, err
}

// adaptPod changes a Pod for the PodController before it enters the cache.
func adaptPod(obj any) (any, error) {
	if pod, ok := obj.(*corev1.Pod); ok {
		pod.ManagedFields = nil
		resolveAddresses(pod)
	}
	return obj, nil
}

// retryLimiter delays only retries. The PodController's own limiter allows no more than ten Pods a second.
func retryLimiter() workqueue.RateLimiter {
	return workqueue.NewItemExponentialFailureRateLimiter(time.Millisecond, 2*time.Second)
}

// retryForEver retries without a limit, because the API server may restart and a ConfigMap may come late.
func retryForEver(context.Context, string, int, time.Time, error) (*time.Duration, error) {
	return nil, nil
}

// run runs the node until ctx ends or a controller gives up, and then removes it. It calls ready once the node is
// registered.
func (n *localNode) run(ctx context.Context, ready func(kubeletAPI net.Addr)) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// The Pods are handled until the node has left.
	podsCtx, stopPods := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPods()
	nodeCtx, stopNode := context.WithCancel(podsCtx)
	defer stopNode()

	go func() { _ = n.server.ServeTLS(n.listener, "", "") }()
	defer n.server.Close()
	n.events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: n.client.CoreV1().Events("")})
	defer n.events.Shutdown()
	for _, factory := range n.caches {
		factory.Start(podsCtx.Done())
		factory.WaitForCacheSync(ctx.Done())
	}

	go func() {
		defer stop()
		_ = n.pods.Run(podsCtx, workers)
	}()
	if happens(ctx, n.pods.Ready()) {
		go func() {
			defer stop()
			_ = n.node.Run(nodeCtx)
		}()
		if happens(ctx, n.node.Ready()) {
			ready(n.listener.Addr())
			<-ctx.Done()
		}
		stopNode()
		<-n.node.Done()
		err = errors.Join(n.node.Err(), n.leave())
	}
	stopPods()
	<-n.pods.Done()
	return errors.Join(n.pods.Err(), err)
}

// happens waits for an event. It returns false if ctx ends first.
func happens(ctx context.Context, event <-chan struct{}) bool {
	select {
	case <-event:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave deletes the Node, so that it gets no more Pods, and ends its Pods.
func (n *localNode) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace+shutdownReport)
	defer cancel()
	err := n.client.CoreV1().Nodes().Delete(ctx, n.name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		err = nil
	}
	n.provider.drain(shutdownGrace)
	// Wait for the Pods' last statuses. If they are not stored, the garbage collector of Pods notices that the node is
	// gone.
	_ = wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, shutdownReport, true, func(context.Context) (bool, error) {
		return n.pods.SyncPodStatusFromProviderQueueLen() == 0, nil
	})
	return err
}

// nodeObject returns the Node to register: ready, without taints, and with room for all Pods.
func nodeObject(name string, kubeletPort int32) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("1Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             resource.MustParse("2000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:   name,
				corev1.LabelOSStable:   runtime.GOOS,
				corev1.LabelArchStable: runtime.GOARCH,
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			// This is the only address. kube-apiserver would prefer a Hostname, and may not be able to resolve it.
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
			NodeInfo: corev1.NodeSystemInfo{
				OperatingSystem:         runtime.GOOS,
				Architecture:            runtime.GOARCH,
				KubeletVersion:          "localnode",
				ContainerRuntimeVersion: "localnode://processes",
			},
			Conditions: []corev1.NodeCondition{
				nodeCondition(corev1.NodeReady, corev1.ConditionTrue, "ProcessesOnThisMachine"),
				nodeCondition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "NotWatched"),
				nodeCondition(corev1.NodeDiskPressure, corev1.ConditionFalse, "NotWatched"),
				nodeCondition(corev1.NodePIDPressure, corev1.ConditionFalse, "NotWatched"),
			},
		},
	}
}

func nodeCondition(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
	now := metav1.Now()
	return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
}
