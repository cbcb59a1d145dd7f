// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// A namespace can write any number of definitions. Only a few with large schemas are kept, because each takes megabytes.
func TestCompiledDefinitionsAreBounded(t *testing.T) {
	d := newDefinitions(nil, nil)
	compile := func(name string, description int) compiledDefinition {
		from := &v1alpha1.JobDefinition{}
		from.Name, from.Generation = name, 1
		from.Spec.InputSchema = &v1alpha1.InputSchema{OpenAPIV3Schema: &apiextensionsv1.JSON{
			Raw: fmt.Appendf(nil, `{"type": "object", "description": %q}`, strings.Repeat("x", description)),
		}}
		return d.compile(from)
	}
	small := compile("small", 1)
	var large compiledDefinition
	for i := range 300 {
		large = compile(fmt.Sprintf("large-%d", i), largeSchema)
	}
	if d.compiled.Len() != 1 || d.large.Len() != maxLarge {
		t.Errorf("%d small ones and %d large ones are kept", d.compiled.Len(), d.large.Len())
	}
	if compile("small", 1).Definition != small.Definition || compile("large-299", largeSchema).Definition != large.Definition {
		t.Error("a definition was compiled again")
	}
}

// definitionStore has these definitions, and answers each read after some time.
type definitionStore struct {
	client.Reader

	takes       time.Duration
	defined     sync.Map
	gets, lists atomic.Int64
}

func (s *definitionStore) Get(_ context.Context, name client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	s.gets.Add(1)
	_, found := s.defined.Load(name.Name)
	time.Sleep(s.takes)
	if !found {
		return apierrors.NewNotFound(definitionResource, name.Name)
	}
	return nil
}

func (s *definitionStore) List(context.Context, client.ObjectList, ...client.ListOption) error {
	s.lists.Add(1)
	return nil
}

// Of the triggers of an undefined job that arrive together, the first one reads live, and all others share a second read. Triggers
// that follow each other cost a read each.
func TestTriggersOfAnUndefinedJobShareALiveRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := &definitionStore{takes: time.Second}
		d := newDefinitions(&definitionStore{}, live)
		find := func() {
			if found, err := d.find(t.Context(), types.NamespacedName{Name: "job"}, false); found != nil || err != nil {
				t.Errorf("found %v, %v", found, err)
			}
		}
		var triggers sync.WaitGroup
		for range 1000 {
			triggers.Go(find)
		}
		triggers.Wait()
		if got := live.gets.Swap(0); got != 2 {
			t.Errorf("1000 triggers at once: %d live reads, want 2", got)
		}
		for range 5 {
			find()
		}
		if got := live.gets.Load(); got != 5 {
			t.Errorf("5 triggers, one after the other: %d live reads, want 5", got)
		}
	})
}

// A definition counts for each trigger that is sent after it was stored, also while a read that does not show it is under way.
func TestANewDefinitionCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := &definitionStore{takes: time.Second}
		d := newDefinitions(&definitionStore{}, live)
		var before, after *v1alpha1.JobDefinition
		var triggers sync.WaitGroup
		find := func(into **v1alpha1.JobDefinition) {
			triggers.Go(func() { *into, _ = d.find(t.Context(), types.NamespacedName{Name: "job"}, false) })
		}
		find(&before)
		time.Sleep(500 * time.Millisecond) // The live read has begun.
		live.defined.Store("job", nil)
		find(&after)
		triggers.Wait()
		if before != nil || after == nil {
			t.Errorf("before it was stored: %v, after: %v", before, after)
		}
	})
}

// The advice to the triggers of an undefined job costs a list of the cache in 10 seconds.
func TestAdviceIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cached := &definitionStore{}
		d := newDefinitions(cached, nil)
		for _, want := range []int64{1, 1, 2} {
			if _, err := d.advise(t.Context(), types.NamespacedName{Name: "job"}); err != nil || cached.lists.Load() != want {
				t.Errorf("%d lists, want %d; %v", cached.lists.Load(), want, err)
			}
			time.Sleep(6 * time.Second)
		}
	})
}
