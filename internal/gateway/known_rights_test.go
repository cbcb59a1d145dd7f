// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// other is a user that is no *user.DefaultInfo.
type other struct{ user.Info }

// A right is believed for a second. A refusal is not, nor what another caller has.
func TestARightIsBelievedForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, apiserver.New())
		ann, again := &user.DefaultInfo{Name: "ann"}, &user.DefaultInfo{Name: "ann"}
		in := func(namespace string) right { return right{verb: "get", resource: jobRuns, namespace: namespace} }
		g.denied["get b/jobruns/"] = true
		ask := func(caller user.Info, namespace string, asked int, may bool) {
			t.Helper()
			before := g.asked.Load()
			err := g.require(withUser(t.Context(), caller), in(namespace))
			if got := int(g.asked.Load() - before); got != asked || (err == nil) != may || err != nil && !apierrors.IsForbidden(err) {
				t.Errorf("%s in %s: asked %d times, %v", caller.GetName(), namespace, got, err)
			}
		}
		ask(ann, "a", 1, true)
		time.Sleep(rightsTTL - 1)
		ask(ann, "a", 0, true)
		ask(ann, "c", 1, true)
		ask(again, "a", 1, true) // It may have other groups.
		ask(other{ann}, "a", 1, true)
		ask(other{ann}, "a", 1, true)
		ask(ann, "b", 1, false)
		ask(ann, "b", 1, false)
		time.Sleep(2 * time.Nanosecond)
		g.denied["get a/jobruns/"] = true
		ask(ann, "a", 1, false)
	})
}

// The second begins when the question is asked: the answer may come late.
func TestARightIsBelievedFromTheQuestionOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, apiserver.New())
		answer := g.slowRights()
		ctx := withUser(t.Context(), &user.DefaultInfo{Name: "ann"})
		needed := right{verb: "get", resource: jobRuns, namespace: "a"}
		time.AfterFunc(rightsTTL-1, answer)
		for range 2 {
			if err := g.require(ctx, needed); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Nanosecond)
		}
		if n := g.asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}
