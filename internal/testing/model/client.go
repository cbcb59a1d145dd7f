// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// errNotModelled is the answer to calls that the operator never makes.
var errNotModelled = errors.New("not modelled: internal/testing/model serves get, list, create, update, update of status and delete")

// transport carries a request to the server and returns the answer.
type transport func(context.Context, *Request) (*Response, error)

// apiClient is a client.Client without a cache: each call is a request to the server.
type apiClient struct {
	kinds catalog
	send  transport
}

var _ client.Client = (*apiClient)(nil)

// Client returns a client that calls the server directly, without a scheduler.
func (s *Server) Client() client.Client {
	all, err := kinds()
	if err != nil {
		panic(err) // NewServer would have failed before
	}
	return &apiClient{kinds: all, send: func(_ context.Context, r *Request) (*Response, error) { return s.Serve(r) }}
}

// Get implements client.Reader.
func (c *apiClient) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	options := client.GetOptions{}
	options.ApplyOptions(opts)
	if options.Raw != nil {
		return errNotModelled
	}
	k, err := c.kinds.of(obj)
	if err != nil {
		return err
	}
	response, err := c.send(ctx, &Request{Verb: VerbGet, Namespace: key.Namespace, Name: key.Name, kind: k})
	if err != nil {
		return err
	}
	response.into(obj)
	return nil
}

// List implements client.Reader. Like the server, it sorts the objects by name, and leaves apiVersion
// and kind empty in the items of built-in kinds only.
func (c *apiClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	options := client.ListOptions{}
	options.ApplyOptions(opts)
	if options.Raw != nil || options.Limit != 0 || options.Continue != "" {
		return errNotModelled
	}
	k, err := c.kinds.of(list)
	if err != nil {
		return err
	}
	response, err := c.send(ctx, &Request{Verb: VerbList, Namespace: options.Namespace, kind: k,
		labels: options.LabelSelector, fields: options.FieldSelector})
	if err != nil {
		return err
	}
	items := make([]runtime.Object, len(response.items))
	for i, row := range response.items {
		items[i] = row.typed.DeepCopyObject()
		if !k.custom {
			items[i].GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		}
	}
	if err := meta.SetList(list, items); err != nil {
		return err
	}
	list.SetResourceVersion(version(response.revision))
	return nil
}

// Create implements client.Writer.
func (c *apiClient) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	options := client.CreateOptions{}
	options.ApplyOptions(opts)
	r, err := c.kinds.request(VerbCreate, obj, true)
	if err != nil {
		return err
	}
	r.dryRun = options.DryRun
	return c.write(ctx, r, obj)
}

// Update implements client.Writer.
func (c *apiClient) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	options := client.UpdateOptions{}
	options.ApplyOptions(opts)
	r, err := c.kinds.request(VerbUpdate, obj, true)
	if err != nil {
		return err
	}
	r.dryRun = options.DryRun
	return c.write(ctx, r, obj)
}

// Delete implements client.Writer.
func (c *apiClient) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	options := client.DeleteOptions{}
	options.ApplyOptions(opts)
	r, err := c.kinds.request(VerbDelete, obj, false)
	if err != nil {
		return err
	}
	r.deletion = *options.AsDeleteOptions()
	_, err = c.send(ctx, r)
	return err
}

// write sends a create or an update. An update does not change the caller's apiVersion and kind.
func (c *apiClient) write(ctx context.Context, r *Request, obj client.Object) error {
	gvk := obj.GetObjectKind().GroupVersionKind()
	response, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	response.into(obj)
	if r.Verb != VerbCreate {
		obj.GetObjectKind().SetGroupVersionKind(gvk)
	}
	return nil
}

// into copies the object of the answer to obj. Like the typed client, it leaves apiVersion and kind empty.
func (r *Response) into(obj client.Object) {
	setInto(obj, r.row.typed.DeepCopyObject())
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
}

// Status implements client.StatusClient.
func (c *apiClient) Status() client.SubResourceWriter { return statusWriter{c} }

// statusWriter writes the status subresource.
type statusWriter struct{ *apiClient }

// Update implements client.SubResourceWriter.
func (w statusWriter) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	options := client.SubResourceUpdateOptions{}
	options.ApplyOptions(opts)
	if options.SubResourceBody != nil {
		return errNotModelled
	}
	r, err := w.kinds.request(VerbUpdateStatus, obj, true)
	if err != nil {
		return err
	}
	r.dryRun = options.DryRun
	return w.write(ctx, r, obj)
}

func (statusWriter) Create(context.Context, client.Object, client.Object, ...client.SubResourceCreateOption) error {
	return errNotModelled
}

func (statusWriter) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return errNotModelled
}

func (statusWriter) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return errNotModelled
}

// Patch implements client.Writer.
func (*apiClient) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return errNotModelled
}

// Apply implements client.Writer.
func (*apiClient) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return errNotModelled
}

// DeleteAllOf implements client.Writer.
func (*apiClient) DeleteAllOf(context.Context, client.Object, ...client.DeleteAllOfOption) error {
	return errNotModelled
}

// SubResource implements client.SubResourceClientConstructor.
func (c *apiClient) SubResource(name string) client.SubResourceClient {
	panic(fmt.Sprintf("SubResource(%q): %v; use Status()", name, errNotModelled))
}

// Scheme implements client.Client.
func (*apiClient) Scheme() *runtime.Scheme { return Scheme }

// RESTMapper implements client.Client.
func (c *apiClient) RESTMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, k := range c.kinds {
		mapper.Add(k.gvk, meta.RESTScopeNamespace)
	}
	return mapper
}

// GroupVersionKindFor implements client.Client.
func (*apiClient) GroupVersionKindFor(obj runtime.Object) (schema.GroupVersionKind, error) {
	return apiutil.GVKForObject(obj, Scheme)
}

// IsObjectNamespaced implements client.Client.
func (c *apiClient) IsObjectNamespaced(obj runtime.Object) (bool, error) {
	return apiutil.IsObjectNamespaced(obj, Scheme, c.RESTMapper())
}
