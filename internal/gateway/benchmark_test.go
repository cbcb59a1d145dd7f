// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

const (
	benchmarkedFields  = `"input":{"org":"acme","full":false,"since":"2026-01-01T00:00:00Z"},"concurrencyKey":"org_acme","coalesce":"Skip"}`
	benchmarkedTrigger = `{` + benchmarkedFields
	benchmarkedLine    = `{"jobName":"sync",` + benchmarkedFields + "\n"
	// benchmarkedCommit is how long a create takes.
	benchmarkedCommit = 5 * time.Millisecond
)

// absorbing is an API server that absorbs each trigger and stores nothing.
type absorbing struct {
	client.WithWatch
	creates atomic.Int64
}

func (a *absorbing) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	a.creates.Add(1)
	time.Sleep(benchmarkedCommit)
	run := object.(*v1alpha1.JobRun)
	run.Spec.Admission = &v1alpha1.Admission{
		Disposition: v1alpha1.DispositionCoalesced, RunName: "sync-7xk2p9q4wd", RunToken: "5c5c3ea4-7a6b-4a0c-8e4e-3a1a56f2a1f0", Token: "t", KeyVersion: "406",
	}
	return nil
}

// reviews answers each question about tokens and rights with the user of a Pod, who may do everything.
func reviews(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch {
	case strings.HasSuffix(r.URL.Path, "/tokenreviews"):
		answer = authenticationv1.TokenReview{Status: authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
			Username: "system:serviceaccount:team-a:ci", UID: "5c5c3ea4-7a6b-4a0c-8e4e-3a1a56f2a1f0",
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated"},
			Extra: map[string]authenticationv1.ExtraValue{
				"authentication.kubernetes.io/credential-id": {"JTI=0b5ad9a4-9b62-4b0e-8f0d-3e1d8e5b7a51"},
				"authentication.kubernetes.io/node-name":     {"node-1"},
				"authentication.kubernetes.io/node-uid":      {"e1d8e5b7-9b62-4b0e-8f0d-0b5ad9a4a51a"},
				"authentication.kubernetes.io/pod-name":      {"ci-28467840-x2v9q"},
				"authentication.kubernetes.io/pod-uid":       {"8f0dad9a-9b62-4b0e-8f0d-3e1d8e5b7a52"},
			},
		}}}
	default:
		answer = authorizationv1.SubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: true, Reason: "RBAC: allowed by RoleBinding \"ci/team-a\""}}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// newBenchmarked returns a gateway as in production, but for what it creates.
func newBenchmarked(b *testing.B, api client.WithWatch) *Server {
	reviewer := httptest.NewServer(http.HandlerFunc(reviews))
	b.Cleanup(reviewer.Close)
	config := &rest.Config{Host: reviewer.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	authenticator, err := NewAuthenticator(config, reviewer.Client())
	if err != nil {
		b.Fatal(err)
	}
	authorizer, err := webhookv1alpha1.NewAuthorizer(config, reviewer.Client())
	if err != nil {
		b.Fatal(err)
	}
	return NewServer(Options{
		API: api, Clock: clock.RealClock{}, Log: logr.Discard(), Metrics: prometheus.NewRegistry(), CallerInFlight: 16384, NamespaceInFlight: 16384,
		Streams:       events.DefaultOptions,
		Authenticator: authenticator, Authorizer: authorizer,
		Audit: zap.New(zap.WriteTo(io.Discard), zap.Level(zapcore.Level(-2))), // as in cmd, without the file
	})
}

// client is one caller, who sends the same request again and again.
type benchmarkedCaller struct {
	body    string
	path    string
	kind    string
	token   string
	answers bytes.Buffer
	header  http.Header
	code    int
}

func newCaller(path, kind, body string) *benchmarkedCaller {
	return &benchmarkedCaller{path: path, kind: kind, body: body, token: "Bearer " + strings.Repeat("x", 1000)} // as long as that of a ServiceAccount
}

func (c *benchmarkedCaller) send(s *Server) {
	r, err := http.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", c.token)
	r.Header.Set("Content-Type", c.kind)
	c.header, c.code = http.Header{}, 0
	c.answers.Reset()
	s.ServeHTTP(c, r)
}

// It is the http.ResponseWriter of a connection.

func (c *benchmarkedCaller) Header() http.Header                { return c.header }
func (c *benchmarkedCaller) WriteHeader(code int)               { c.code = code }
func (c *benchmarkedCaller) Write(text []byte) (int, error)     { return c.answers.Write(text) }
func (c *benchmarkedCaller) Flush()                             {}
func (c *benchmarkedCaller) EnableFullDuplex() error            { return nil }
func (c *benchmarkedCaller) SetReadDeadline(time.Time) error    { return nil }
func (c *benchmarkedCaller) SetWriteDeadline(_ time.Time) error { return nil }

// cpuTime is that of this process.
func cpuTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkAbsorb measures what one absorbed trigger of a hot key costs the gateway, without the connection: cpu-ns/op is the CPU
// time, ns/op has the wait for the create in it.
func BenchmarkAbsorb(b *testing.B) {
	const lines = 100
	for _, bc := range []struct {
		name, path, kind, body string
		callers, triggers      int
	}{
		{"64", syncPath, jsonType, benchmarkedTrigger, 64, 1},
		{"1024", syncPath, jsonType, benchmarkedTrigger, 1024, 1},
		{"lines", batchPath, ndjsonType, strings.Repeat(benchmarkedLine, lines), 64, lines},
	} {
		b.Run(bc.name, func(b *testing.B) {
			api := &absorbing{WithWatch: apiserver.New()}
			s := newBenchmarked(b, api)
			newCaller(bc.path, bc.kind, bc.body).send(s) // fills the caches
			var next atomic.Int64
			var callers sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			begun := cpuTime()
			for range bc.callers {
				callers.Go(func() {
					c := newCaller(bc.path, bc.kind, bc.body)
					for next.Add(int64(bc.triggers)) <= int64(b.N)+int64(bc.triggers)-1 {
						c.send(s)
						if c.code != http.StatusOK || bytes.Count(c.answers.Bytes(), []byte(`"Coalesced"`)) != bc.triggers {
							b.Errorf("%d %s", c.code, c.answers.String())
							return
						}
					}
				})
			}
			callers.Wait()
			b.ReportMetric(float64(cpuTime()-begun)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(api.creates.Load())/float64(b.N)*1000, "creates/1000")
		})
	}
}
