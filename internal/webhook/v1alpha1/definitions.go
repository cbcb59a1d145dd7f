// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/definition"
	"github.com/jobrun-dev/jobrun/internal/text"
)

const (
	// maxCompiled bounds the memory of compiled definitions. One takes some 70 times the bytes of its schema, and up to 400 KB for the
	// patterns of schema and expressions each.
	maxCompiled = 256
	// largeSchema is the size from which a schema counts as large, in bytes. maxLarge bounds the compiled definitions with one: 4 MB
	// each.
	largeSchema, maxLarge = 4 << 10, 16
	// maxAbsent bounds the jobs without a definition that are remembered.
	maxAbsent = 4096
	// absentTTL is how long a job with inline templates counts as undefined after a live read. Without this, each trigger of a
	// flood of them would cost a read.
	absentTTL = time.Second
	// adviceTTL is how long the advice to the triggers of an undefined job stays the same. To find it takes some milliseconds in a
	// namespace of 10,000 definitions.
	adviceTTL = 10 * time.Second
)

// definitions finds the JobDefinitions of triggers, and keeps them compiled.
type definitions struct {
	// cached is nil if there are no definitions.
	cached client.Reader
	live   *cache.SharedReads[*v1alpha1.JobDefinition]
	// compiled has the definitions without a large schema, and large those with one. So a few of these do not drive all others out.
	compiled, large *lru.Cache
	// absent has the jobs without a definition, and advice what their triggers are told.
	absent, advice *utilcache.LRUExpireCache
}

func newDefinitions(cached, live client.Reader) *definitions {
	read := func(ctx context.Context, job types.NamespacedName) (*v1alpha1.JobDefinition, error) {
		return cache.ReadDefinition(ctx, live, job)
	}
	return &definitions{
		cached: cached, live: cache.NewSharedReads(read, nil), compiled: lru.New(maxCompiled), large: lru.New(maxLarge),
		absent: utilcache.NewLRUExpireCache(maxAbsent), advice: utilcache.NewLRUExpireCache(maxAbsent),
	}
}

// find returns the definition of a job, or nil if there is none. It reads a definition that the cache does not have live, because
// the caller may have created it just before. It is not cache.FindDefinition, for two reasons. One live read serves all triggers
// that were waiting for it. And a definition that is being deleted counts as gone, so the live read may show its successor.
//
// With mayBeAbsent, an answer that there is none may be absentTTL old.
func (d *definitions) find(ctx context.Context, job types.NamespacedName, mayBeAbsent bool) (*v1alpha1.JobDefinition, error) {
	if d.cached == nil {
		return nil, nil
	}
	if found, err := cache.ReadDefinition(ctx, d.cached, job); err != nil || isThere(found) {
		return found, err
	}
	if _, absent := d.absent.Get(job); absent && mayBeAbsent {
		return nil, nil
	}
	found, err := d.live.Get(ctx, job)
	if err != nil || isThere(found) {
		return found, err
	}
	d.absent.Add(job, nil, absentTTL)
	return nil, nil
}

func isThere(found *v1alpha1.JobDefinition) bool {
	return found != nil && found.DeletionTimestamp == nil
}

// advise returns what to tell a trigger of an undefined job: the defined job whose name is nearest. It returns nothing if the
// namespace defines no jobs. The answer may be adviceTTL old.
func (d *definitions) advise(ctx context.Context, job types.NamespacedName) ([]string, error) {
	if known, ok := d.advice.Get(job); ok {
		return known.([]string), nil
	}
	var defined v1alpha1.JobDefinitionList
	if err := d.cached.List(ctx, &defined, client.InNamespace(job.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var names, advice []string
	for i := range defined.Items {
		if isThere(&defined.Items[i]) {
			names = append(names, defined.Items[i].Name)
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		advice = []string{fmt.Sprintf("job %q has no JobDefinition, so the run waits for an external worker; the nearest defined job is %q",
			job.Name, text.Nearest(job.Name, names))}
	}
	d.advice.Add(job, advice, adviceTTL)
	return advice, nil
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
