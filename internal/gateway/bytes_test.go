// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
)

func TestBytesHeld(t *testing.T) {
	b := newBytesHeld(3, 4)
	for _, step := range []struct {
		caller string
		size   int64
		taken  bool
	}{
		{"a", 2, true}, {"a", 2, false}, {"a", 1, true}, {"b", 2, false}, {"b", 1, true}, {"b", 0, true}, {"c", 1, false},
	} {
		if taken := b.take(step.caller, step.size); taken != step.taken {
			t.Errorf("%+v: %t", step, taken)
		}
	}
	b.give("a", 3)
	b.give("b", 1)
	if b.all != 0 || len(b.caller) != 0 {
		t.Errorf("left: %+v", b)
	}
}
