// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	// memorySize is how many outcomes a memory holds. A full memory forgets all of them.
	memorySize = 1 << 16
	// memoryCheck is the interval of checks: each 256th recall validates again and compares the outcomes.
	memoryCheck = 256
)

// memory remembers the outcomes of validations. A validation checks a new object, or the change of an object.
//
// Two validations share an outcome if their objects differ only by a consistent renaming of opaque values:
// uids, tokens, resourceVersions and times. That is sound for two reasons:
//
//   - The schema only bounds the length of these values and requires that some are times. Every value of
//     a typed object meets these requirements.
//   - The CEL rules only compare these values for equality. A consistent renaming preserves equality.
//
// A later change of the schema or the rules may make the renaming unsound. So every memoryCheck-th recall
// validates again. The text of a remembered error may name a value of the earlier validation.
type memory struct {
	mu       sync.Mutex
	outcomes map[string]field.ErrorList
	recalls  int
}

func newMemory() *memory {
	return &memory{outcomes: map[string]field.ErrorList{}}
}

// recall returns the remembered outcome of a validation, or the outcome of validate if there is none.
func (m *memory) recall(old, obj runtime.Object, validate func() field.ErrorList) field.ErrorList {
	key := memoryKey(old, obj)
	m.mu.Lock()
	errs, known := m.outcomes[key]
	m.recalls++
	check := m.recalls%memoryCheck == 0
	m.mu.Unlock()
	if known && !check {
		return errs
	}
	fresh := validate()
	// The API server iterates over maps, so the order of its errors is random.
	slices.SortStableFunc(fresh, func(a, b *field.Error) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Type, b.Type))
	})
	if known && !sameErrors(errs, fresh) {
		panic(fmt.Sprintf("remembered %v, but validation returns %v, for %v -> %v", errs, fresh, old, obj))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.outcomes) >= memorySize {
		clear(m.outcomes)
	}
	m.outcomes[key] = fresh
	return fresh
}

func sameErrors(a, b field.ErrorList) bool {
	return slices.EqualFunc(a, b, func(a, b *field.Error) bool { return a.Type == b.Type && a.Field == b.Field })
}

// memoryKey renders both objects as text. It replaces opaque values by numbers: the first value by 0, the
// next new value by 1, and so on.
func memoryKey(old, obj runtime.Object) string {
	w := keyWriter{names: map[string]int{}}
	if old != nil {
		w.value("", old.(runtime.Unstructured).UnstructuredContent())
	}
	w.buffer.WriteByte('|')
	w.value("", obj.(runtime.Unstructured).UnstructuredContent())
	return w.buffer.String()
}

type keyWriter struct {
	buffer bytes.Buffer
	names  map[string]int
}

// value writes a value. name is the name of the field that holds it; empty for an element of a list.
func (w *keyWriter) value(name string, value any) {
	switch v := value.(type) {
	case map[string]any:
		w.object(v)
	case []any:
		w.buffer.WriteByte('[')
		for _, element := range v {
			w.value("", element)
			w.buffer.WriteByte(',')
		}
		w.buffer.WriteByte(']')
	case string:
		if opaque(name, v) {
			w.rename(v)
		} else {
			w.buffer.WriteString(strconv.Quote(v))
		}
	case int64:
		w.buffer.WriteString(strconv.FormatInt(v, 10))
	default:
		fmt.Fprintf(&w.buffer, "%T(%v)", v, v)
	}
}

func (w *keyWriter) object(object map[string]any) {
	fields := make([]string, 0, len(object))
	for name := range object {
		fields = append(fields, name)
	}
	slices.Sort(fields)
	w.buffer.WriteByte('{')
	for _, name := range fields {
		w.buffer.WriteString(strconv.Quote(name))
		w.buffer.WriteByte(':')
		w.value(name, object[name])
		w.buffer.WriteByte(',')
	}
	w.buffer.WriteByte('}')
}

func (w *keyWriter) rename(value string) {
	n, ok := w.names[value]
	if !ok {
		n = len(w.names)
		w.names[value] = n
	}
	w.buffer.WriteByte('$')
	w.buffer.WriteString(strconv.Itoa(n))
}

// opaque reports whether validation can only compare the field's value with others (see memory).
func opaque(name, value string) bool {
	if value == "" || len(value) > 64 {
		return false
	}
	switch name {
	case "uid", "token", "runToken", "resourceVersion", "keyVersion", "fromVersion", "time":
		return true
	default:
		return strings.HasSuffix(name, "Time") || strings.HasSuffix(name, "Timestamp")
	}
}
