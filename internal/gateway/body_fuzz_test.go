// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
)

// Whatever a client sends, the decoder takes it whole or refuses it with a 400: nothing that it takes is lost or changed.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"input": {"org": "acme", "n": 1e400}, "concurrencyKey": "k", "coalesce": "Skip", "labels": {"a": "b"}}`,
		`{"concurrencykey": "k"}`, `{"concurrencyKey": "k", "concurrencyKey": "l"}`, `{"ttlSecondsAfterFinished": 0, "maxAttempts": 99999999999}`,
		`{"items": [{"jobName": "sync", "input": null}, {"jobName": "sync", "input": "\ud800"}]}`, `{} {}`, "\xff", `{"input": 123456789012345678901234567890}`,
		`{"items": null}`, `{"labels": {"a": null}}`, `{"jobName": "sync", "template": {}}`, `{"input": [[[[[[]]]]]]}`, "{\"input\": 1}\n{\"input\": 2}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		decoded(t, body, &TriggerRequest{}, &TriggerRequest{})
		decoded(t, body, &BatchItem{}, &BatchItem{})
		decoded(t, body, &BatchRequest{}, &BatchRequest{})
		decoded(t, body, &struct{}{}, &struct{}{})
	})
}

// decoded decodes a body as a route does. What is taken must be all that the body has, and must be the same once it is sent
// again.
func decoded(t *testing.T, body []byte, first, second any) {
	t.Helper()
	if err := decode(body, first); err != nil {
		if statusCode(err) != http.StatusBadRequest {
			t.Fatalf("%q is refused with %v", body, err)
		}
		return
	}
	if len(body) == 0 {
		return
	}
	if !json.Valid(body) {
		t.Fatalf("%q is taken, and is no JSON", body)
	}
	text, err := json.Marshal(first)
	if err != nil {
		t.Fatalf("%q is taken, and cannot be written: %v", body, err)
	}
	if err := decode(text, second); err != nil {
		t.Fatalf("%q becomes %s, which is refused: %v", body, text, err)
	}
	again, err := json.Marshal(second)
	if err != nil || string(again) != string(text) {
		t.Fatalf("%q becomes %s, and then %s: %v", body, text, again, err)
	}
	if lost := missing(t, body, text); lost != "" {
		t.Fatalf("%q becomes %s, without %s", body, text, lost)
	}
}

// missing returns the name of a field of an object that another one does not have. A field may be left out if its value is
// null, false, 0 or empty.
func missing(t *testing.T, from, in []byte) string {
	t.Helper()
	var sent, taken map[string]any
	if json.Unmarshal(from, &sent) != nil || sent == nil {
		return ""
	}
	if err := json.Unmarshal(in, &taken); err != nil {
		t.Fatal(err)
	}
	for name, value := range sent {
		if _, ok := taken[name]; !ok && !isEmpty(value) {
			return name
		}
	}
	return ""
}

func isEmpty(value any) bool {
	if value == nil {
		return true
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}
