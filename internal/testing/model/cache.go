// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cache is the informer cache of one process. Each kind that the process watches has its own informer,
// which has seen a prefix of that kind's history. Reads behave like reads of controller-runtime's cache,
// field indexes included.
//
// Many goroutines may read a cache. Only the scheduler changes it, while no other goroutine runs.
type Cache struct {
	kinds     catalog
	server    *Server
	informers map[*kind]*informer
	order     []*informer
	transform toolscache.TransformFunc
	yield     func(context.Context, string) error // called before each read, unless nil
}

var (
	_ client.Reader       = (*Cache)(nil)
	_ client.FieldIndexer = (*Cache)(nil)
)

// Handler is called with each change to a cache. For an addition old is nil, for a deletion new is nil.
// After a relist, old and new may be different objects of one name. Initial is true for the objects that
// Cache.Sync finds.
type Handler func(old, new client.Object, initial bool)

// informer is the cache of one kind.
type informer struct {
	*table
	cache    *Cache
	position int // number of events of the history that it has seen
	objects  map[client.ObjectKey]client.Object
	handlers []Handler
	indexes  map[string]client.IndexerFunc
}

// NewCache returns an empty cache.
func (s *Server) NewCache() (*Cache, error) {
	all, err := kinds()
	if err != nil {
		return nil, err
	}
	return &Cache{kinds: all, server: s, informers: map[*kind]*informer{}}, nil
}

// informer returns the informer of obj's kind. It makes one on the first call.
func (c *Cache) informer(obj runtime.Object) (*informer, error) {
	k, err := c.kinds.of(obj)
	if err != nil {
		return nil, err
	}
	i, ok := c.informers[k]
	if !ok {
		i = &informer{table: c.server.db.table(k), cache: c, objects: map[client.ObjectKey]client.Object{}, indexes: map[string]client.IndexerFunc{}}
		c.informers[k] = i
		c.order = append(c.order, i)
	}
	return i, nil
}

// Transform makes the cache store transform(object) for every object that it sees from now on.
func (c *Cache) Transform(transform toolscache.TransformFunc) { c.transform = transform }

// IndexField implements client.FieldIndexer.
func (c *Cache) IndexField(_ context.Context, obj client.Object, field string, extract client.IndexerFunc) error {
	i, err := c.informer(obj)
	if err != nil {
		return err
	}
	if _, ok := i.indexes[field]; ok {
		return fmt.Errorf("indexer conflict: %s of %s", field, i.kind.gvk.Kind)
	}
	i.indexes[field] = extract
	return nil
}

// Watch lets the cache hold objects of obj's kind, and calls the handler with every change. The handler
// may be nil.
func (c *Cache) Watch(obj client.Object, handler Handler) error {
	i, err := c.informer(obj)
	if err == nil && handler != nil {
		i.handlers = append(i.handlers, handler)
	}
	return err
}

// Sync fills the cache at the start of a process. Each kind has its state of lag events ago, because an
// API server may answer the first list of an informer from its own watch cache, which lags.
func (c *Cache) Sync(lag int) {
	for _, i := range c.order {
		i.sync(max(0, len(i.history)-lag))
	}
}

// watched returns the informer for a read. It fails for a kind that the process does not watch:
// controller-runtime would start an informer here, which the operator must not rely on.
func (c *Cache) watched(obj runtime.Object) (*informer, error) {
	k, err := c.kinds.of(obj)
	if err != nil {
		return nil, err
	}
	i, ok := c.informers[k]
	if !ok {
		return nil, fmt.Errorf("a cached read of %s, which this process does not watch: read it live", k.gvk.Kind)
	}
	return i, nil
}

// lag returns how many events of the kind the informer has not seen yet.
func (i *informer) lag() int { return len(i.history) - i.position }

// deliver makes the informer see the next event.
func (i *informer) deliver() {
	event := i.history[i.position]
	i.position++
	i.change(client.ObjectKeyFromObject(event.Object()), i.transformed(event.Old), i.transformed(event.New))
}

// transformed returns an object as the cache stores it.
func (i *informer) transformed(object client.Object) client.Object {
	if object == nil || i.cache.transform == nil {
		return object
	}
	made, err := i.cache.transform(object.DeepCopyObject())
	if err != nil {
		panic(err) // a real informer would be stuck
	}
	return made.(client.Object)
}

// sync makes the informer jump to a position of the history. Its handlers see only the final objects.
func (i *informer) sync(position int) {
	for _, event := range i.history[:position] {
		key := client.ObjectKeyFromObject(event.Object())
		if event.New == nil {
			delete(i.objects, key)
		} else {
			i.objects[key] = i.transformed(event.New)
		}
	}
	i.position = position
	for _, key := range sortedKeys(i.objects) {
		i.tell(nil, i.objects[key], true)
	}
}

// relist makes the informer jump to the present, as after a broken watch. Its handlers see one change per
// name instead of the events in between.
func (i *informer) relist() {
	i.position = len(i.history)
	current := map[client.ObjectKey]client.Object{}
	for _, row := range i.list("") {
		current[client.ObjectKeyFromObject(row.typed)] = i.transformed(row.typed)
	}
	for _, key := range sortedKeys(i.objects) {
		if current[key] == nil {
			i.change(key, i.objects[key], nil)
		}
	}
	for _, key := range sortedKeys(current) {
		if old := i.objects[key]; old == nil || old.GetResourceVersion() != current[key].GetResourceVersion() {
			i.change(key, old, current[key])
		}
	}
}

func (i *informer) change(key client.ObjectKey, old, new client.Object) {
	if new == nil {
		delete(i.objects, key)
	} else {
		i.objects[key] = new
	}
	i.tell(old, new, false)
}

func (i *informer) tell(old, new client.Object, initial bool) {
	for _, handle := range i.handlers {
		handle(old, new, initial)
	}
}

// Get implements client.Reader.
func (c *Cache) Get(ctx context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	i, err := c.watched(obj)
	if err != nil {
		return err
	}
	if err := c.wait(ctx, VerbGet, i, key.Name); err != nil {
		return err
	}
	cached, ok := i.objects[key]
	if !ok {
		// controller-runtime's cache, too, puts the kind in the place of the resource.
		return apierrors.NewNotFound(schema.GroupResource{Group: i.kind.gvk.Group, Resource: i.kind.gvk.Kind}, key.Name)
	}
	setInto(obj, cached.DeepCopyObject())
	obj.GetObjectKind().SetGroupVersionKind(i.kind.gvk)
	return nil
}

// List implements client.Reader. It sorts by uid, so that no caller can rely on an order of names or ages.
func (c *Cache) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	options := client.ListOptions{}
	options.ApplyOptions(opts)
	if options.Limit != 0 || options.Continue != "" || options.Raw != nil {
		return errNotModelled
	}
	i, err := c.watched(list)
	if err != nil {
		return err
	}
	if err := c.wait(ctx, VerbList, i, ""); err != nil {
		return err
	}
	var found []runtime.Object
	for _, obj := range i.objects {
		matches, err := i.selects(obj, &options)
		if err != nil {
			return err
		}
		if matches {
			item := obj.DeepCopyObject()
			item.GetObjectKind().SetGroupVersionKind(i.kind.gvk)
			found = append(found, item)
		}
	}
	slices.SortFunc(found, func(a, b runtime.Object) int {
		return cmp.Compare(a.(client.Object).GetUID(), b.(client.Object).GetUID())
	})
	if err := meta.SetList(list, found); err != nil {
		return err
	}
	list.SetContinue("continue-not-supported")
	return nil
}

// selects reports whether a list with these options contains obj.
func (i *informer) selects(obj client.Object, options *client.ListOptions) (bool, error) {
	if options.Namespace != "" && obj.GetNamespace() != options.Namespace {
		return false, nil
	}
	if options.LabelSelector != nil && !options.LabelSelector.Matches(labels.Set(obj.GetLabels())) {
		return false, nil
	}
	if options.FieldSelector == nil {
		return true, nil
	}
	for _, requirement := range options.FieldSelector.Requirements() {
		extract, ok := i.indexes[requirement.Field]
		if !ok {
			return false, fmt.Errorf("index with name field:%s does not exist", requirement.Field)
		}
		if !slices.Contains(extract(obj), requirement.Value) {
			return false, nil
		}
	}
	return true, nil
}

// wait lets the scheduler take other steps before a read of the cache.
func (c *Cache) wait(ctx context.Context, verb Verb, i *informer, name string) error {
	if c.yield == nil {
		return nil
	}
	return c.yield(ctx, string(verb)+" cached "+i.kind.gvk.Kind+" "+name)
}

func sortedKeys(objects map[client.ObjectKey]client.Object) []client.ObjectKey {
	return slices.SortedFunc(maps.Keys(objects), func(a, b client.ObjectKey) int { return strings.Compare(a.String(), b.String()) })
}
