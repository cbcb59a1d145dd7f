// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"crypto/sha256"
	"encoding/json"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/utils/lru"
)

// maxKnownTemplates bounds the memory of known templates: a hash of 32 bytes each.
const maxKnownTemplates = 4096

// knownTemplates remembers the text of templates that were found valid, as hashes. The triggers of a job mostly carry the
// same template, and to decode and validate it costs more than the rest of the trigger. Every check of a template depends
// on its text alone. The API server writes equal templates as equal text.
//
// Nothing that is invalid is remembered, so each answer about it is made anew.
type knownTemplates struct{ hashes *lru.Cache }

func newKnownTemplates() *knownTemplates {
	return &knownTemplates{hashes: lru.New(maxKnownTemplates)}
}

// checks are the checks that a template has passed.
type checks int

const (
	// decoded templates passed the limits, the decoder and validateTemplate.
	decoded checks = 1 << iota
	// validated templates passed the schema of the CRD.
	validated
)

func (c checks) has(check checks) bool { return c&check != 0 }

func (k *knownTemplates) get(template []byte) checks {
	known, _ := k.hashes.Get(sha256.Sum256(template))
	passed, _ := known.(checks)
	return passed
}

func (k *knownTemplates) add(template []byte, check checks) {
	if passed := k.get(template); len(template) > 0 && !passed.has(check) {
		k.hashes.Add(sha256.Sum256(template), passed|check)
	}
}

// untyped decodes the whole object without Go types, and completes it. If the schema has accepted the template before, an empty one takes
// its place.
func (s *submission) untyped() (object map[string]any, err error) {
	raw := s.raw
	if s.passed.has(validated) {
		if raw, err = emptyTemplate(raw); err != nil {
			return nil, err
		}
	}
	if err := utiljson.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	return object, s.addTo(object)
}

// addTo sets what completes the trigger in the decoded object.
func (s *submission) addTo(object map[string]any) error {
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		return nil
	}
	for _, value := range s.added {
		raw, err := json.Marshal(value.Value)
		if err != nil {
			return err
		}
		var untyped any
		if err := utiljson.Unmarshal(raw, &untyped); err != nil {
			return err
		}
		spec[value.Name] = untyped
	}
	return nil
}

func emptyTemplate(raw []byte) ([]byte, error) {
	var object, spec map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(object["spec"], &spec); err != nil {
		return nil, err
	}
	spec["template"] = json.RawMessage("{}")
	var err error
	if object["spec"], err = json.Marshal(spec); err != nil {
		return nil, err
	}
	return json.Marshal(object)
}
