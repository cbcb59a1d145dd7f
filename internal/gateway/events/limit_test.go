// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestLimit(t *testing.T) {
	l := &limit{perCaller: 2, total: 3}
	enter := func(caller string) func() {
		t.Helper()
		leave, err := l.enter(caller)
		mustEqual(t, caller+" is refused", err, nil)
		return leave
	}
	refused := func(caller string) {
		t.Helper()
		_, err := l.enter(caller)
		mustEqual(t, caller+" is refused", apierrors.IsTooManyRequests(err), true)
	}
	first, _ := enter("a"), enter("a")
	refused("a")
	last := enter("b")
	refused("c")
	first()
	refusedNoMore := enter("c")
	refused("a")
	last()
	refusedNoMore()
	mustEqual(t, "open", l.open, 1)
	mustEqual(t, "callers", len(l.caller), 1)
}
