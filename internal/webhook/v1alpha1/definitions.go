// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

const (
	// maxCompiled bounds the memory of compiled definitions. One takes some 70 times the bytes of its schema, and up to 400 KB for the
	// patterns of schema and expressions each.
	maxCompiled = 256
	// largeSchema is the size from which a schema counts as large, in bytes. maxLarge bounds the compiled definitions with one: 4 MB
	// each.
	largeSchema, maxLarge = 4 << 10, 16
	// maxAbsent bounds the jobs that are known to have no definition.
	maxAbsent = 4096
	// absentTTL is how long a job with inline templates counts as undefined after a live read. Without this, each trigger of a
	// flood of them would cost a read.
	absentTTL = time.Second
)

// definitions finds the JobDefinitions of triggers, and keeps them compiled.
type definitions struct {
	// cached is nil if there are no definitions.
	cached, live client.Reader
	// compiled has the definitions without a large schema, and large those with one. So a few of these do not drive all others out.
	compiled, large *lru.Cache
	absent          *utilcache.LRUExpireCache
}

func newDefinitions(cached, live client.Reader) *definitions {
	return &definitions{
		cached: cached, live: live, compiled: lru.New(maxCompiled), large: lru.New(maxLarge), absent: utilcache.NewLRUExpireCache(maxAbsent),
	}
}

// find returns the definition of a job, or nil if there is none. It reads a definition that the cache does not have live, because
// the caller may have created it just before. A definition that is being deleted counts as gone.
//
// With mayBeAbsent, an answer that there is none may be absentTTL old.
func (d *definitions) find(ctx context.Context, job types.NamespacedName, mayBeAbsent bool) (*v1alpha1.JobDefinition, error) {
	if d.cached == nil {
		return nil, nil
	}
	found, err := get(ctx, d.cached, job, client.UnsafeDisableDeepCopy)
	if found != nil || err != nil {
		return found, err
	}
	if _, absent := d.absent.Get(job); absent && mayBeAbsent {
		return nil, nil
	}
	found, err = get(ctx, d.live, job)
	if found == nil && err == nil {
		d.absent.Add(job, nil, absentTTL)
	}
	return found, err
}

// get returns nil without such a definition. Nobody changes what it returns.
func get(ctx context.Context, from client.Reader, name types.NamespacedName, opts ...client.GetOption) (*v1alpha1.JobDefinition, error) {
	found := &v1alpha1.JobDefinition{}
	err := from.Get(ctx, name, found, opts...)
	if apierrors.IsNotFound(err) || err == nil && found.DeletionTimestamp != nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read JobDefinition %s: %w", name.Name, err)
	}
	return found, nil
}

// generation identifies what a definition says.
type generation struct {
	job        types.NamespacedName
	uid        types.UID
	generation int64
}

// compiledDefinition is what definition.Compile returned.
type compiledDefinition struct {
	*definition.Definition
	errs field.ErrorList
}

// compile returns the compiled definition, or what is wrong with it.
func (d *definitions) compile(from *v1alpha1.JobDefinition) compiledDefinition {
	key := generation{client.ObjectKeyFromObject(from), from.UID, from.Generation}
	kept := d.keptIn(from)
	if known, ok := kept.Get(key); ok {
		return known.(compiledDefinition)
	}
	var compiled compiledDefinition
	compiled.Definition, compiled.errs = definition.Compile(from)
	kept.Add(key, compiled)
	return compiled
}

// keptIn returns where a compiled definition is kept.
func (d *definitions) keptIn(from *v1alpha1.JobDefinition) *lru.Cache {
	if schema := from.Spec.InputSchema; schema != nil && schema.OpenAPIV3Schema != nil && len(schema.OpenAPIV3Schema.Raw) >= largeSchema {
		return d.large
	}
	return d.compiled
}
