// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Client triggers and follows runs of one namespace. It may be used by several
// goroutines.
type Client struct {
	api       client.WithWatch
	namespace string
}

// New makes a Client on a client whose scheme knows v1alpha1. It must read from
// the API server and not from a cache. With metav1.NamespaceAll, only List and
// Watch work, over all namespaces.
func New(api client.WithWatch, namespace string) *Client {
	return &Client{api: api, namespace: namespace}
}

// NewForConfig makes a Client with a connection of its own, which is not throttled
// unless the config says so. It sends no request and needs no discovery. Warnings of the API server are dropped unless the
// config has a handler for them: a TriggerResult says what they say.
func NewForConfig(config *rest.Config, namespace string) (*Client, error) {
	config = rest.CopyConfig(config)
	if config.WarningHandler == nil && config.WarningHandlerWithContext == nil {
		config.WarningHandlerWithContext = rest.NoWarnings{}
	}
	if config.QPS == 0 {
		config.QPS = -1 // Five requests a second are too few for a batch to be whole in time.
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("JobRun"), meta.RESTScopeNamespace)
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return New(api, namespace), nil
}

// Namespace is a Client of another namespace, on the same connection.
func (c *Client) Namespace(namespace string) *Client {
	return New(c.api, namespace)
}

// Get reads a JobRun. Errors: *NotFoundError, or that of the API server.
func (c *Client) Get(ctx context.Context, name string) (*v1alpha1.JobRun, error) {
	if err := c.checkName(name); err != nil {
		return nil, err
	}
	run := &v1alpha1.JobRun{}
	if err := c.api.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: name}, run); err != nil {
		return nil, Classify(err)
	}
	return run, nil
}

// Cancel asks that a run end without result, and returns once that is recorded;
// Wait tells when it has ended. It cannot be taken back. A receipt ends alone,
// never the run that stands for it. A JobRun that has an outcome keeps it.
// Errors: *NotFoundError, or that of the API server.
func (c *Client) Cancel(ctx context.Context, name string) error {
	if err := c.checkName(name); err != nil {
		return err
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"cancel":true}}`))
	return Classify(c.api.Patch(ctx, c.object(name), patch))
}

// Delete deletes a JobRun, and in the background its Job and Pods. To delete a
// run that has no outcome cancels it without a record. Errors: *NotFoundError,
// or that of the API server.
func (c *Client) Delete(ctx context.Context, name string) error {
	if err := c.checkName(name); err != nil {
		return err
	}
	return Classify(c.api.Delete(ctx, c.object(name), client.PropagationPolicy(metav1.DeletePropagationBackground)))
}

func (c *Client) object(name string) *v1alpha1.JobRun {
	return &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
}
