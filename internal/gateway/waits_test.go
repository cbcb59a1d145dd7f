// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// Callers that wait share the one watch of the gateway.
func TestWaitsShareOneWatch(t *testing.T) {
	const waits = 1000
	synctest.Test(t, func(t *testing.T) {
		s := admitting(apiserver.Created)
		g := newGate(t, s, func(o *Options) { o.CallerInFlight, o.NamespaceInFlight = waits, waits })
		defer g.Drain()
		go g.followEvents(t.Context())
		answers := make(chan answer)
		for range waits {
			go func() { answers <- g.send("POST", syncPath+"?wait=300s", "{}") }()
		}
		synctest.Wait()
		if watches, stored := s.Watches(), s.Stored(apiserver.JobRuns); watches != 1 || stored != waits {
			t.Errorf("%d watches for %d JobRuns", watches, stored)
		}
		var all v1alpha1.JobRunList
		if err := s.List(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for i := range all.Items {
			s.Change(all.Items[i].Name, func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhaseCompleted })
		}
		for range waits {
			var got TriggerAnswer
			if (<-answers).decode(&got); got.Phase != v1alpha1.PhaseCompleted {
				t.Fatalf("%+v", got)
			}
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// The waits of all callers are bounded, before anything is stored.
func TestWaitsAreBounded(t *testing.T) {
	s := admitting(apiserver.Created)
	g := newGate(t, s)
	g.waits.most = 0
	g.send("POST", syncPath+"?wait=1s", "{}").wantStatus(429, metav1.StatusReasonTooManyRequests)
	if n := s.Stored(apiserver.JobRuns); n > 0 {
		t.Errorf("%d are stored", n)
	}
	if got := g.send("POST", syncPath, "{}"); got.Code != http.StatusCreated {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}
