// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// store shows the objects of a kind that the cache has. They must not be changed.
type store interface{ List() []any }

// storeOf returns the objects that an informer shows. A list through the client would copy each of them. With --namespaces there is
// an informer for each namespace, and no store of all: then the objects are listed through the client.
func storeOf(ctx context.Context, reader client.Client, informers cache.Informers, object client.Object) (store, error) {
	informer, err := informers.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	if shared, ok := informer.(toolscache.SharedInformer); ok {
		return shared.GetStore(), nil
	}
	return newListed(ctx, reader, object)
}

// listed is a store that lists through a client. It copies the objects, but not what they refer to.
type listed struct {
	ctx    context.Context //nolint:containedctx // a Store has no context. This one ends with the process
	reader client.Client
	empty  client.ObjectList
}

func newListed(ctx context.Context, reader client.Client, object client.Object) (store, error) {
	gvk, err := apiutil.GVKForObject(object, reader.Scheme())
	if err != nil {
		return nil, err
	}
	empty, err := reader.Scheme().New(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err != nil {
		return nil, err
	}
	list, ok := empty.(client.ObjectList)
	if !ok {
		return nil, fmt.Errorf("%T is no list", empty)
	}
	return listed{ctx, reader, list}, nil
}

// List returns the objects. It logs an error, and returns no objects then: the cache fails only when the process ends.
func (l listed) List() (objects []any) {
	list := l.empty.DeepCopyObject().(client.ObjectList)
	err := l.reader.List(l.ctx, list, client.UnsafeDisableDeepCopy)
	if err == nil {
		err = meta.EachListItem(list, func(item runtime.Object) error {
			objects = append(objects, item)
			return nil
		})
	}
	if err != nil {
		log.FromContext(l.ctx).Error(err, "Cannot list what the cache shows")
		return nil
	}
	return objects
}
