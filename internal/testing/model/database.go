// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/judge"
)

// firstRevision makes resourceVersions gain a digit early in a simulation. This catches code that
// compares them as text.
const firstRevision = 90

// row is one stored version of one object, in two forms. Neither is ever modified.
type row struct {
	stored runtime.Object // for the registry: unstructured for custom resources
	typed  client.Object  // for typed clients
	// lacksDefaults is true if the database does not hold all of stored: defaults were set when the row was read.
	lacksDefaults bool
}

// Event is one write to the database. Old is nil for a create, New is nil for a delete. The Old of a
// delete carries the resourceVersion of the delete, as in a watch. Events share their objects: copy
// before you modify.
type Event = judge.Event

// database takes the place of etcd. It has one revision for all tables. Only one goroutine at
// a time may use it.
type database struct {
	revision  uint64
	tables    map[*kind]*table
	observers []func(*Event)
}

// table holds the rows of one kind and their history. It implements those methods of storage.Interface
// that the registry uses. The others panic.
type table struct {
	storage.Interface

	db      *database
	kind    *kind
	rows    map[string]*row
	history []*Event
}

func newDatabase() *database {
	return &database{revision: firstRevision, tables: map[*kind]*table{}}
}

func (db *database) table(k *kind) *table {
	t, ok := db.tables[k]
	if !ok {
		t = &table{db: db, kind: k, rows: map[string]*row{}}
		db.tables[k] = t
	}
	return t
}

// Versioner implements storage.Interface.
func (t *table) Versioner() storage.Versioner { return storage.APIObjectVersioner{} }

// Create implements storage.Interface.
func (t *table) Create(_ context.Context, key string, obj, out runtime.Object, _ uint64) error {
	if version, err := t.Versioner().ObjectResourceVersion(obj); err == nil && version != 0 {
		return storage.ErrResourceVersionSetOnCreate
	}
	if _, ok := t.rows[key]; ok {
		return storage.NewKeyExistsError(key, 0)
	}
	return t.put(key, nil, obj, out)
}

// Get implements storage.Interface.
func (t *table) Get(_ context.Context, key string, opts storage.GetOptions, out runtime.Object) error {
	current, ok := t.rows[key]
	switch {
	case ok:
		setInto(out, current.stored.DeepCopyObject())
		return nil
	case opts.IgnoreNotFound:
		return runtime.SetZeroValue(out)
	default:
		return storage.NewKeyNotFoundError(key, 0)
	}
}

// GuaranteedUpdate implements storage.Interface. Nothing else runs meanwhile, so it never retries.
func (t *table) GuaranteedUpdate(_ context.Context, key string, out runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, update storage.UpdateFunc, _ runtime.Object) error {
	current, ok := t.rows[key]
	if !ok && !ignoreNotFound {
		return storage.NewKeyNotFoundError(key, 0)
	}
	existing := t.kind.newStored()
	meta := storage.ResponseMeta{}
	if ok {
		existing = current.stored.DeepCopyObject()
		meta.ResourceVersion, _ = t.Versioner().ObjectResourceVersion(existing)
	}
	if err := preconditions.Check(key, existing); err != nil {
		return err
	}
	updated, _, err := update(existing, meta)
	if err != nil {
		return err
	}
	if ok {
		// An update that changes nothing is not written: no new resourceVersion, no event. It changes something if it
		// brings the defaults into the database.
		if err := t.Versioner().UpdateObject(updated, meta.ResourceVersion); err != nil {
			return err
		}
		if !current.lacksDefaults && apiequality.Semantic.DeepEqual(updated, current.stored) {
			setInto(out, current.stored.DeepCopyObject())
			return nil
		}
	}
	return t.put(key, current, updated, out)
}

// Delete implements storage.Interface.
func (t *table) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, _ runtime.Object, _ storage.DeleteOptions) error {
	current, ok := t.rows[key]
	if !ok {
		return storage.NewKeyNotFoundError(key, 0)
	}
	if err := preconditions.Check(key, current.stored); err != nil {
		return err
	}
	if err := validate(ctx, current.stored); err != nil {
		return err
	}
	final, err := t.version(current.stored.DeepCopyObject())
	if err != nil {
		return err
	}
	delete(t.rows, key)
	setInto(out, final.stored.DeepCopyObject())
	t.record(&Event{Revision: t.db.revision, Old: final.typed})
	return nil
}

// put stores obj as the next version of previous, or as a new row if that is nil.
func (t *table) put(key string, previous *row, obj, out runtime.Object) error {
	next, err := t.version(obj.DeepCopyObject())
	if err != nil {
		return err
	}
	t.rows[key] = next
	setInto(out, next.stored.DeepCopyObject())
	event := &Event{Revision: t.db.revision, New: next.typed}
	if previous != nil {
		event.Old = previous.typed
	}
	t.record(event)
	return nil
}

// version makes a row of obj at the next revision.
func (t *table) version(obj runtime.Object) (*row, error) {
	if err := t.Versioner().UpdateObject(obj, t.db.revision+1); err != nil {
		return nil, err
	}
	next, err := t.kind.row(obj)
	if err != nil {
		return nil, err
	}
	t.db.revision++
	return next, nil
}

func (t *table) record(event *Event) {
	t.history = append(t.history, event)
	for _, observe := range t.db.observers {
		observe(event)
	}
}

// list returns the rows of a namespace in the order of their keys, as etcd does. "" means all namespaces.
func (t *table) list(namespace string) []*row {
	prefix := t.kind.prefix() + "/"
	if namespace != "" {
		prefix += namespace + "/"
	}
	keys := make([]string, 0, len(t.rows))
	for key := range t.rows {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	rows := make([]*row, len(keys))
	for i, key := range keys {
		rows[i] = t.rows[key]
	}
	return rows
}

// row makes a row of obj. Times lose their fractions of a second, as in JSON. A custom resource gets the defaults that the
// API server sets when it reads the object from etcd, for example that of a status that the create dropped.
func (k *kind) row(obj runtime.Object) (*row, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		typed := obj.(client.Object)
		typed.SetCreationTimestamp(typed.GetCreationTimestamp().Rfc3339Copy())
		if deleted := typed.GetDeletionTimestamp(); deleted != nil {
			typed.SetDeletionTimestamp(ptr.To(deleted.Rfc3339Copy()))
		}
		return &row{stored: obj, typed: typed}, nil
	}
	fields := len(u.Object)
	k.setDefaults(u)
	typed := k.newObject()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed); err != nil {
		return nil, fmt.Errorf("decode %s: %w", k.gvk.Kind, err)
	}
	return &row{stored: obj, typed: typed, lacksDefaults: len(u.Object) > fields}, nil
}

// marshal encodes an object. It avoids the slower encoder of unstructured objects.
func marshal(obj runtime.Object) ([]byte, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return json.Marshal(u.Object)
	}
	return json.Marshal(obj)
}

// setInto copies the struct that from points to into the one that out points to.
func setInto(out, from runtime.Object) {
	reflect.ValueOf(out).Elem().Set(reflect.ValueOf(from).Elem())
}
