// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// input gives a JobRun an input of some bytes.
func input(size int) func(*v1alpha1.JobRun) {
	return func(run *v1alpha1.JobRun) {
		run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(`"` + strings.Repeat("x", size-2) + `"`)}
	}
}

// A comparison that would take too much memory is given up, and the client reads the list anew.
func TestComparisonsAreBounded(t *testing.T) {
	for runs, bounded := range map[int]bool{5: false, 12: true} {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t)
			g := s.gateway(Options{PerCaller: 10, Total: 10})
			g.past.room = 10 * weight(makeRun("a", input(3000)))
			s.Put(makeRun("first"))
			for i := range runs {
				s.Put(makeRun(fmt.Sprintf("later-%d", i), input(3000)))
			}
			synctest.Wait()
			c := g.connect("", "1")
			g.Drain()
			mustEqual(t, "begins with a reset", strings.HasPrefix(c.rest(), "reset"), bounded)
		})
	}
}

// A caller compares once at a time, so that it leaves a slot to others.
func TestACallerComparesOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPast(nil)
		first, err := p.enter(t.Context(), "ann")
		mustEqual(t, "the first", err, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.enter(ctx, "ann")
		mustEqual(t, "the second has to wait", errors.Is(err, context.DeadlineExceeded), true)
		other, err := p.enter(t.Context(), "bob")
		mustEqual(t, "another caller", err, nil)
		time.AfterFunc(time.Second, first)
		begun := time.Now()
		second, err := p.enter(t.Context(), "ann")
		mustEqual(t, "the second, later", err, nil)
		mustEqual(t, "after", time.Since(begun), time.Second)
		second()
		other()
		mustEqual(t, "callers", len(p.turns.callers), 0)
		mustEqual(t, "slots", len(p.slots), 0)
	})
}
