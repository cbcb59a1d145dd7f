// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"k8s.io/utils/lru"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

// maxKnownShapes bounds the memory of known shapes: a hash of 32 bytes each.
const maxKnownShapes = 4096

// knownShapes remembers the shapes of specs that the schema and the rules of the CRD accept, as hashes. The triggers of a
// job mostly differ in their input and their keys alone, and to validate a spec costs more than the rest of the trigger.
type knownShapes struct{ hashes *lru.Cache }

func newKnownShapes() *knownShapes { return &knownShapes{hashes: lru.New(maxKnownShapes)} }

func (k *knownShapes) has(shape [sha256.Size]byte) bool {
	_, known := k.hashes.Get(shape)
	return known
}

func (k *knownShapes) add(shape [sha256.Size]byte) { k.hashes.Add(shape, nil) }

// shape returns a hash of the completed spec without what the CRD does not look into: the input, and a template that is
// known to be valid. It leaves out the text of the keys too, because it checks them itself. So two specs of one shape are
// both valid, or both are not. ok is false if a key or the template is not known to be valid.
func (s *submission) shape() (shape [sha256.Size]byte, ok bool) {
	fields, err := s.fields()
	nameFits := len(s.run.Name) <= v1alpha1.MaxTemplateRunName // A rule of the CRD bounds the names of runs with a Job.
	if err != nil || fields == nil || !nameFits {
		return shape, false
	}
	fields = maps.Clone(fields)
	for _, added := range s.added {
		if fields[added.Name], err = json.Marshal(added.Value); err != nil {
			return shape, false
		}
	}
	delete(fields, "admission") // The webhook writes it.
	for name, value := range fields {
		placeholder, ok := placeholderOf(name, value, s.passed)
		if !ok {
			return shape, false
		}
		fields[name] = placeholder
	}
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		hash.Write([]byte(strconv.Quote(name)))
		hash.Write(fields[name])
	}
	return [sha256.Size]byte(hash.Sum(nil)), true
}

// placeholderOf returns what stands for the value of a field in the shape.
func placeholderOf(name string, value json.RawMessage, passed checks) (placeholder json.RawMessage, ok bool) {
	if string(value) == "null" {
		return value, true
	}
	switch name {
	case "input":
		return json.RawMessage("{}"), true
	case "template":
		return json.RawMessage("{}"), passed.has(validated)
	case "concurrencyKey", "idempotencyKey":
		var key string
		err := json.Unmarshal(value, &key)
		return json.RawMessage(`"k"`), err == nil && definition.KeyProblem(key) == ""
	case "batch", "represents": // Each batch has another id, and the shapes of many batches would drive all others out.
		return nil, false
	default:
		return value, true
	}
}
