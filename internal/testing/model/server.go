// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Verb is the operation of a request.
type Verb string

// The verbs that the server serves.
const (
	VerbGet          Verb = "get"
	VerbList         Verb = "list"
	VerbCreate       Verb = "create"
	VerbUpdate       Verb = "update"
	VerbUpdateStatus Verb = "update status of"
	VerbDelete       Verb = "delete"
)

// Writes reports whether the verb changes objects.
func (v Verb) Writes() bool { return v != VerbGet && v != VerbList }

// Request is one call to the API server. Its body is encoded when the caller makes the call, as on a
// network. So the caller cannot change a request that is applied late.
type Request struct {
	Verb      Verb
	Namespace string
	Name      string
	Body      []byte

	kind     *kind
	dryRun   []string
	deletion metav1.DeleteOptions
	labels   labels.Selector
	fields   fields.Selector
}

// Response is the answer to a request that succeeded. It shares its objects with the database: the client
// copies them.
type Response struct {
	row      *row
	items    []*row
	revision uint64
}

// Server is an API server over a database in memory. It executes each request atomically. Only one
// goroutine at a time may use it.
type Server struct {
	db         *database
	registries map[*kind]*registry
}

// NewServer returns a server with an empty database.
func NewServer() (*Server, error) {
	all, err := kinds()
	if err != nil {
		return nil, err
	}
	s := &Server{db: newDatabase(), registries: map[*kind]*registry{}}
	for _, k := range all {
		if s.registries[k] == nil {
			s.registries[k] = newRegistry(k, s.db)
		}
	}
	return s, nil
}

// Observe calls f after every write, before any client or cache sees it.
func (s *Server) Observe(f func(*Event)) {
	s.db.observers = append(s.db.observers, f)
}

// Revision returns the resourceVersion of the last write.
func (s *Server) Revision() uint64 { return s.db.revision }

// stored returns all objects of one kind, sorted by namespace and name. Do not modify them.
func stored[T client.Object](s *Server) []T {
	var prototype T
	for k, reg := range s.registries {
		if _, ok := k.newObject().(T); ok {
			rows := reg.rows.list("")
			objects := make([]T, len(rows))
			for i, row := range rows {
				objects[i] = row.typed.(T)
			}
			return objects
		}
	}
	panic(fmt.Sprintf("the model does not serve %T", prototype))
}

// Serve executes a request. Its errors are API errors, as clients see them.
func (s *Server) Serve(r *Request) (*Response, error) {
	response, err := s.serve(r)
	if err == nil {
		return response, nil
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return nil, err
	}
	return nil, &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error(),
	}}
}

func (s *Server) serve(r *Request) (*Response, error) {
	ctx := genericapirequest.WithNamespace(context.Background(), r.Namespace)
	reg := s.registries[r.kind]
	switch r.Verb {
	case VerbGet:
		return s.get(reg, r)
	case VerbList:
		return s.list(reg, r)
	case VerbCreate:
		return s.create(ctx, reg, r)
	case VerbUpdate:
		return s.update(ctx, reg, r, false)
	case VerbUpdateStatus:
		return s.update(ctx, reg, r, true)
	case VerbDelete:
		options := r.deletion
		_, _, err := reg.main.Delete(ctx, r.Name, rest.ValidateAllObjectFunc, &options)
		return &Response{revision: s.db.revision}, err
	default:
		return nil, fmt.Errorf("the model does not know the verb %q", r.Verb)
	}
}

func (s *Server) get(reg *registry, r *Request) (*Response, error) {
	current, ok := reg.rows.rows[reg.key(r.Namespace, r.Name)]
	if !ok {
		return nil, apierrors.NewNotFound(reg.resource, r.Name)
	}
	return &Response{row: current, revision: s.db.revision}, nil
}

func (s *Server) list(reg *registry, r *Request) (*Response, error) {
	if r.fields != nil {
		for _, requirement := range r.fields.Requirements() {
			if err := reg.supportsField(requirement.Field); err != nil {
				return nil, apierrors.NewBadRequest(err.Error())
			}
		}
	}
	response := &Response{revision: s.db.revision}
	for _, row := range reg.rows.list(r.Namespace) {
		matches, err := r.selects(reg.kind, row)
		if err != nil {
			return nil, err
		}
		if matches {
			response.items = append(response.items, row)
		}
	}
	return response, nil
}

// selects reports whether the selectors of a list match a row.
func (r *Request) selects(k *kind, row *row) (bool, error) {
	if r.labels != nil && !r.labels.Matches(labels.Set(row.typed.GetLabels())) {
		return false, nil
	}
	if r.fields == nil || r.fields.Empty() {
		return true, nil
	}
	set, err := k.selectable(row.stored)
	return err == nil && r.fields.Matches(set), err
}

func (s *Server) create(ctx context.Context, reg *registry, r *Request) (*Response, error) {
	obj, err := reg.decode(r.Body)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	out, err := reg.main.Create(ctx, obj, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: r.dryRun})
	if err != nil {
		return nil, err
	}
	return s.respond(reg, out)
}

func (s *Server) update(ctx context.Context, reg *registry, r *Request, status bool) (*Response, error) {
	store := reg.main
	if status {
		store = reg.status
	}
	if store == nil {
		return nil, errNoSuchPath()
	}
	obj, err := reg.decode(r.Body)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	out, _, err := store.Update(ctx, r.Name, rest.DefaultUpdatedObjectInfo(obj), rest.ValidateAllObjectFunc,
		rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{DryRun: r.dryRun})
	if err != nil {
		return nil, err
	}
	return s.respond(reg, out)
}

// errNoSuchPath is the answer to a request for a subresource that is not there.
func errNoSuchPath() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource",
	}}
}

// respond makes an answer of the object that the registry returned.
func (s *Server) respond(reg *registry, out runtime.Object) (*Response, error) {
	obj := out.(client.Object)
	current, ok := reg.rows.rows[reg.key(obj.GetNamespace(), obj.GetName())]
	if ok && current.typed.GetResourceVersion() == obj.GetResourceVersion() {
		return &Response{row: current, revision: s.db.revision}, nil
	}
	// A dry run, or an update that ended the object.
	answer, err := reg.row(out)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return &Response{row: answer, revision: s.db.revision}, nil
}

// request returns a request about an object. It encodes the object if body is set.
func (c catalog) request(verb Verb, obj client.Object, body bool) (*Request, error) {
	k, err := c.of(obj)
	if err != nil {
		return nil, err
	}
	r := &Request{Verb: verb, Namespace: obj.GetNamespace(), Name: obj.GetName(), kind: k}
	if body {
		r.Body, err = k.encode(obj)
	}
	return r, err
}

// encode encodes an object as clients do: always with apiVersion and kind.
func (k *kind) encode(obj client.Object) ([]byte, error) {
	if obj.GetObjectKind().GroupVersionKind() != k.gvk {
		obj = obj.DeepCopyObject().(client.Object)
		obj.GetObjectKind().SetGroupVersionKind(k.gvk)
	}
	return json.Marshal(obj)
}

// version renders a revision as a resourceVersion.
func version(revision uint64) string { return strconv.FormatUint(revision, 10) }
