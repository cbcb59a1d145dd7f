// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// TestPropertyMemory compares remembered outcomes with new validations, for random changes of a status.
func TestPropertyMemory(t *testing.T) {
	k := mustKind(t, &v1alpha1.JobRun{})
	status := k.status.(remembering)
	known := 0
	rapid.Check(t, func(rt *rapid.T) {
		d := &differential{T: rt}
		run := &v1alpha1.JobRun{Spec: v1alpha1.JobRunSpec{JobName: "sync"}}
		run.Name, run.Namespace, run.ResourceVersion = "a", "ns", "1"
		old := run.DeepCopy()
		for range 3 {
			d.runStatusMutation()(run)
			uid := types.UID(strings.Repeat("u", d.pick("uid", 4)))
			run.UID = uid
			if ref := run.Status.RunRef; ref != nil {
				ref.UID = uid
			}
			before, after := decoded(rt, k, old), decoded(rt, k, run)
			if _, ok := status.memory.outcomes[memoryKey(before, after)]; ok {
				known++
			}
			got := status.ValidateUpdate(d.Context(), after, before)
			want := newMemory().recall(before, after, func() field.ErrorList {
				return status.strategy.ValidateUpdate(d.Context(), after, before)
			})
			if !sameErrors(got, want) {
				rt.Fatalf("remembered %v, want %v", got, want)
			}
			if len(want) == 0 {
				old = run.DeepCopy()
			}
		}
	})
	if known == 0 {
		t.Error("nothing was remembered")
	}
}

func decoded(t *rapid.T, k *kind, run *v1alpha1.JobRun) runtime.Object {
	body, err := k.encode(run)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := k.decode(body)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

// TestMemoryKey shows which changes share a remembered outcome with a base, and which do not.
func TestMemoryKey(t *testing.T) {
	key := func(old, new string) string {
		return memoryKey(unstructuredOf(t, old), unstructuredOf(t, new))
	}
	base := key(`{"uid":"a","phase":"Pending"}`, `{"uid":"a","phase":"Leased"}`)
	for _, same := range [][2]string{
		{`{"phase":"Pending","uid":"b"}`, `{"uid":"b","phase":"Leased"}`},
	} {
		if key(same[0], same[1]) != base {
			t.Errorf("the key of %v differs from that of the base", same)
		}
	}
	for _, other := range [][2]string{
		{`{"uid":"a","phase":"Pending"}`, `{"uid":"b","phase":"Leased"}`},
		{`{"uid":"a","phase":"Pending"}`, `{"uid":"a","phase":"Failed"}`},
		{`{"uid":"a","phase":"Pending"}`, `{"phase":"Leased"}`},
		{`{"uid":"","phase":"Pending"}`, `{"uid":"","phase":"Leased"}`},
		{`{"uid":"a","phase":["Pending"]}`, `{"uid":"a","phase":"Leased"}`},
	} {
		if key(other[0], other[1]) == base {
			t.Errorf("the key of %v is that of the base", other)
		}
	}
}

func unstructuredOf(t *testing.T, text string) runtime.Object {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func mustKind(t *testing.T, obj runtime.Object) *kind {
	t.Helper()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	k, err := all.of(obj)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
