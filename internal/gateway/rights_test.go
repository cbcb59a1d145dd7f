// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// slowRights makes the gateway's questions about rights wait until answer is called.
func (g *gate) slowRights() (answer func()) {
	answers, slow := make(chan struct{}), g.Authorizer
	g.Authorizer = authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetUser().GetName() == "ann" {
			select {
			case <-answers:
			case <-ctx.Done():
				return authorizer.DecisionNoOpinion, "", ctx.Err()
			}
		}
		return slow.Authorize(ctx, a)
	})
	return func() { close(answers) }
}

// A caller that asks for many rights at once gets a 429, and takes nobody else's place.
func TestQuestionsAboutRightsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, newFake(t), func(o *Options) { o.CallerInFlight = 1000 })
		answer := g.slowRights()
		var clients sync.WaitGroup
		for i := range rightsInFlight {
			clients.Go(func() {
				if got := g.send("GET", fmt.Sprintf("/v1/namespaces/ns-%d/runs", i), ""); got.Code != http.StatusOK {
					t.Errorf("%d %s", got.Code, got.Body)
				}
			})
		}
		synctest.Wait()
		g.send("GET", "/v1/namespaces/one-more/runs", "").wantStatus(429, metav1.StatusReasonTooManyRequests)
		if got := g.send("GET", "/v1/namespaces/one-more/runs", "", "Authorization", "Bearer bob"); got.Code != http.StatusOK {
			t.Errorf("another caller: %d %s", got.Code, got.Body)
		}
		answer()
		clients.Wait()
		if got := g.send("GET", "/v1/namespaces/one-more/runs", ""); got.Code != http.StatusOK {
			t.Errorf("after the others: %d %s", got.Code, got.Body)
		}
	})
}

// Requests that ask the same at once ask once. A first one whose client leaves takes the answer from nobody.
func TestQuestionsAboutRightsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, apiserver.New())
		answer := g.slowRights()
		ask := func(ctx context.Context, name, group string, right right) error {
			return g.require(withUser(ctx, &user.DefaultInfo{Name: name, Groups: []string{group}}), right)
		}
		needed := right{verb: "get", resource: jobRuns, namespace: "a"}
		other := right{verb: "get", resource: jobRuns, namespace: "b"}
		leaving, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		clients.Go(func() { _ = ask(leaving, "ann", "x", needed) })
		synctest.Wait()
		for range 9 {
			clients.Go(func() {
				if err := ask(t.Context(), "ann", "x", needed); err != nil {
					t.Error(err)
				}
			})
		}
		clients.Go(func() { _ = ask(t.Context(), "ann", "x", other) })
		clients.Go(func() { _ = ask(t.Context(), "ann", "y", needed) })
		synctest.Wait()
		leave()
		synctest.Wait()
		answer()
		clients.Wait()
		if n := g.asked.Load(); n != 3 {
			t.Errorf("asked %d times, want once for each right and each set of groups", n)
		}
	})
}
