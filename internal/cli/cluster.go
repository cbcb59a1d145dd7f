// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// cluster is the connection to a cluster, for one namespace.
type cluster struct {
	api  client.WithWatch
	runs *jobrun.Client
	// openLog opens the log of a container.
	openLog logOpener
	// namespace comes from the command line, else from the kubeconfig's context.
	namespace string
	// insisted means that the command line names the namespace.
	insisted bool
}

type logOpener func(ctx context.Context, pod *corev1.Pod, o *corev1.PodLogOptions) (io.ReadCloser, error)

// in returns the same connection for another namespace.
func (c *cluster) in(namespace string) *cluster {
	other := *c
	other.namespace = namespace
	other.runs = c.runs.Namespace(namespace)
	return &other
}

// newScheme returns the types that the plugin reads and writes.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, batchv1.AddToScheme, coordinationv1.AddToScheme, corev1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

// newMapper returns a mapper that needs no discovery: the plugin needs no right to it and keeps no cache.
func newMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("JobRun"), meta.RESTScopeNamespace)
	mapper.Add(v1alpha1.GroupVersion.WithKind("JobDefinition"), meta.RESTScopeNamespace)
	// The guessed plural would be runkeies.
	mapper.AddSpecific(v1alpha1.GroupVersion.WithKind("RunKey"), v1alpha1.GroupVersion.WithResource("runkeys"),
		v1alpha1.GroupVersion.WithResource("runkey"), meta.RESTScopeNamespace)
	mapper.Add(batchv1.SchemeGroupVersion.WithKind("Job"), meta.RESTScopeNamespace)
	mapper.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	return mapper
}

// connect reaches the cluster that the flags name. It sends no request.
func connect(flags genericclioptions.RESTClientGetter, o Options) (*cluster, error) {
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	namespace, insisted, err := flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.UserAgent = "kubectl-jobrun/" + o.Version
	config.QPS = -1 // a worker's renewals must not queue behind its claims; the API server limits the rate
	config.WarningHandler = rest.NewWarningWriter(o.Streams.ErrOut, rest.WarningWriterOptions{
		Deduplicate: true, Color: printers.AllowsColorOutput(o.Streams.ErrOut),
	})
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: newMapper()})
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	pods, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	open := func(ctx context.Context, pod *corev1.Pod, o *corev1.PodLogOptions) (io.ReadCloser, error) {
		return pods.Pods(pod.Namespace).GetLogs(pod.Name, o).Stream(ctx)
	}
	return &cluster{
		api: api, runs: jobrun.New(api, namespace), openLog: open, namespace: namespace, insisted: insisted,
	}, nil
}
