// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// silent is a body that does not come.
type silent struct {
	read sync.WaitGroup
	end  chan struct{}
}

func (s *silent) Read([]byte) (int, error) {
	s.read.Done()
	<-s.end
	return 0, io.ErrUnexpectedEOF
}

// Bodies that do not come take nobody's room.
func TestASilentBodyTakesNoRoom(t *testing.T) {
	g := newGate(t, admitting(apiserver.Created), func(o *Options) { o.NamespaceInFlight = 1000 })
	body, clients := &silent{end: make(chan struct{})}, sync.WaitGroup{}
	const bodies = maxBodiesBytes / maxBatchBytes
	body.read.Add(bodies)
	for i := range bodies {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, batchPath, body)
		r.ContentLength = maxBatchBytes
		r.Header.Set("Authorization", fmt.Sprintf("Bearer user-%d", i))
		clients.Go(func() { g.ServeHTTP(httptest.NewRecorder(), r) })
	}
	body.read.Wait()
	if got := g.send("POST", syncPath, "{}"); got.Code != http.StatusCreated {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	close(body.end)
	clients.Wait()
}

// The bodies of one caller leave room for those of others.
func TestBodiesOfACallerAreBounded(t *testing.T) {
	g := newGate(t, admitting(apiserver.Created))
	g.bodies.take("ann", callerBodiesBytes-1)
	g.send("POST", syncPath, "{}").wantStatus(429, metav1.StatusReasonTooManyRequests)
	got := g.send("POST", batchPath, `{"jobName":"a"}`, "Content-Type", ndjsonType)
	if answers := lines(t, got.Body); len(answers) != 1 || answers[0].Code != 429 {
		t.Errorf("a line: %+v", answers)
	}
	if got := g.send("POST", syncPath, "{}", "Authorization", "Bearer bob"); got.Code != http.StatusCreated {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if g.bodies.all != callerBodiesBytes-1 {
		t.Errorf("%d bytes are held", g.bodies.all)
	}
}

// A body that has become a trigger takes no room while the caller waits.
func TestAWaitHoldsNoBody(t *testing.T) {
	for path, body := range map[string]string{syncPath: `{"input":1}`, "/v1/namespaces/default/runs/a/retrigger": `{}`} {
		synctest.Test(t, func(t *testing.T) {
			s := admitting(apiserver.Created)
			s.Put(&v1alpha1.JobRun{ObjectMeta: named("a"), Spec: v1alpha1.JobRunSpec{JobName: "sync"}})
			g := newGate(t, s)
			var held atomic.Int64
			time.AfterFunc(time.Second, func() {
				g.bodies.mu.Lock()
				defer g.bodies.mu.Unlock()
				held.Store(g.bodies.all)
			})
			if got := g.send("POST", path+"?wait=2s", body); got.Code != http.StatusCreated || held.Load() != 0 {
				t.Errorf("%s: %d %s, %d bytes are held", path, got.Code, got.Body, held.Load())
			}
		})
	}
}

func TestARouteWithoutABodyTakesOnlyASmallOne(t *testing.T) {
	s := admitting(apiserver.Created)
	s.Put(&v1alpha1.JobRun{ObjectMeta: named("a"), Spec: v1alpha1.JobRunSpec{JobName: "sync"}})
	for _, path := range []string{"/v1/namespaces/default/runs/a/cancel", "/v1/namespaces/default/runs/a/retrigger"} {
		newGate(t, s).send("POST", path, "{"+strings.Repeat(" ", maxEmptyBytes)+"}").wantStatus(413, metav1.StatusReasonRequestEntityTooLarge)
	}
}
