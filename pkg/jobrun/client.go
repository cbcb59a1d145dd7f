// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Client triggers, reads and follows the JobRuns of one namespace, and reads its JobDefinitions. It is safe for concurrent use.
type Client struct {
	api       client.WithWatch
	namespace string
}

// New returns a Client that uses api. The scheme of api must have v1alpha1, and api must read from the API server and
// not from a cache. A Client of metav1.NamespaceAll can only List, Watch, and read Definitions.
func New(api client.WithWatch, namespace string) *Client {
	return &Client{api: api, namespace: namespace}
}

// NewForConfig returns a Client with its own connection. It sends no request and needs no discovery. Requests are not
// throttled unless the config sets QPS. The API server's warnings are dropped unless the config has a handler for them:
// they repeat what a TriggerResult has.
func NewForConfig(config *rest.Config, namespace string) (*Client, error) {
	config = rest.CopyConfig(config)
	if config.WarningHandler == nil && config.WarningHandlerWithContext == nil {
		config.WarningHandlerWithContext = rest.NoWarnings{}
	}
	if config.QPS == 0 {
		config.QPS = -1 // client-go's default of 5 is too slow for a batch to be whole in time.
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"JobRun", "JobDefinition"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return New(api, namespace), nil
}

// Namespace returns a Client of another namespace that uses the same connection.
func (c *Client) Namespace(namespace string) *Client {
	return New(c.api, namespace)
}

// Get reads a JobRun. Errors: *ValidationError (the name), *NotFoundError, or the API server's.
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

// Cancel requests that a run end without a result, and returns once the request is recorded. Wait returns once the run
// has ended. The request cannot be undone. Cancelling a receipt never ends the run that stands for it. A JobRun that has
// an outcome keeps it. Errors: *ValidationError (the name), *NotFoundError, or the API server's.
func (c *Client) Cancel(ctx context.Context, name string) error {
	if err := c.checkName(name); err != nil {
		return err
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"cancel":true}}`))
	return Classify(c.api.Patch(ctx, c.object(name), patch))
}

// CancelFor is like Cancel, for the JobRun that Trigger or Get returned. It leaves a later JobRun of the same name alone, and
// returns *NotFoundError then.
func (c *Client) CancelFor(ctx context.Context, run *v1alpha1.JobRun) error {
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"uid":%q},"spec":{"cancel":true}}`, run.UID))
	err := Classify(c.api.Patch(ctx, c.object(run.Name), patch))
	if refusesUID(err) {
		return missing(run.Name)
	}
	return err
}

// refusesUID reports whether the API server refused a patch because the JobRun has another uid.
func refusesUID(err error) bool {
	var invalid *ValidationError
	return errors.As(err, &invalid) && slices.ContainsFunc(invalid.Fields, func(f FieldError) bool { return f.Field == "metadata.uid" })
}

// Delete deletes a JobRun and, in the background, its Job and Pods. Deleting a run without an outcome cancels it and
// leaves no record. Errors: *ValidationError (the name), *NotFoundError, or the API server's.
func (c *Client) Delete(ctx context.Context, name string) error {
	if err := c.checkName(name); err != nil {
		return err
	}
	return Classify(c.api.Delete(ctx, c.object(name), client.PropagationPolicy(metav1.DeletePropagationBackground)))
}

func (c *Client) object(name string) *v1alpha1.JobRun {
	return &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
}
