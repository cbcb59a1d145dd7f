// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// gate is a gateway over a simulated API server. A token is the name of its user.
type gate struct {
	*Server
	t *testing.T
	// denied has what no caller may, as right.String has it. unknown are rights that cannot be looked up.
	denied, unknown map[string]bool
	asked           atomic.Int32
	registry        *prometheus.Registry
}

func newGate(t *testing.T, api client.WithWatch, change ...func(*Options)) *gate {
	g := &gate{t: t, denied: map[string]bool{}, unknown: map[string]bool{}, registry: prometheus.NewRegistry()}
	o := Options{
		API: api, Clock: clock.RealClock{}, Log: logr.Discard(), Metrics: g.registry, CallerInFlight: 10, NamespaceInFlight: 10,
		Streams:       events.DefaultOptions,
		Authenticator: authenticator.RequestFunc(authenticateByName), Authorizer: authorizer.AuthorizerFunc(g.authorize),
	}
	for _, change := range change {
		change(&o)
	}
	g.Server = NewServer(o)
	return g
}

func authenticateByName(r *http.Request) (*authenticator.Response, bool, error) {
	switch token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); token {
	case "":
		return nil, false, nil
	case "outage":
		return nil, false, &outageError{errors.New("no connection")}
	case "flood":
		return nil, false, fmt.Errorf("client rate limiter: %w", errTooManyReviews)
	default:
		return &authenticator.Response{User: &user.DefaultInfo{Name: token, Groups: []string{"system:authenticated"}}}, true, nil
	}
}

func (g *gate) authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	g.asked.Add(1)
	asked := fmt.Sprintf("%s %s/%s/%s", a.GetVerb(), a.GetNamespace(), a.GetResource(), a.GetName())
	switch {
	case g.unknown[asked]:
		return authorizer.DecisionNoOpinion, "", errors.New("no connection")
	case g.denied[asked]:
		return authorizer.DecisionNoOpinion, "no rule", nil
	default:
		return authorizer.DecisionAllow, "", nil
	}
}

// answer is the answer to a request.
type answer struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// send sends a request of ann. Headers are pairs of a name and a value; an empty value removes the header.
func (g *gate) send(method, path, body string, headers ...string) answer {
	g.t.Helper()
	r := httptest.NewRequestWithContext(g.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer ann")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return answer{w, g.t}
}

func (a answer) decode(into any) {
	a.t.Helper()
	if err := json.Unmarshal(a.Body.Bytes(), into); err != nil {
		a.t.Fatalf("%v in %s", err, a.Body)
	}
}

// wantStatus checks that the answer is a Status with a code and a reason, and returns it.
func (a answer) wantStatus(code int, reason metav1.StatusReason) metav1.Status {
	a.t.Helper()
	var status metav1.Status
	a.decode(&status)
	if a.Code != code || status.Code != int32(code) || status.Reason != reason || status.Kind != "Status" || status.Message == "" {
		a.t.Fatalf("%d %s, want a Status with %d %s", a.Code, a.Body, code, reason)
	}
	return status
}

func TestWhoAmI(t *testing.T) {
	answer := newGate(t, apiserver.New()).send("GET", "/v1/whoami", "")
	var who WhoAmI
	answer.decode(&who)
	if answer.Code != http.StatusOK || who.User.Username != "ann" || len(who.User.Groups) != 1 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestEveryRefusalIsAStatus(t *testing.T) {
	g := newGate(t, apiserver.New())
	g.denied["list default/jobruns/"] = true
	g.unknown["list lost/jobruns/"] = true
	for name, tc := range map[string]struct {
		method, path, token string
		code                int
		reason              metav1.StatusReason
	}{
		"no such route":              {"GET", "/v2/runs", "ann", 404, metav1.StatusReasonNotFound},
		"another method":             {"PUT", "/v1/runs", "ann", 405, metav1.StatusReasonMethodNotAllowed},
		"no token":                   {"GET", "/v1/runs", "", 401, metav1.StatusReasonUnauthorized},
		"a token that is not known":  {"GET", "/v1/runs", "outage", 503, metav1.StatusReasonServiceUnavailable},
		"a flood of tokens":          {"GET", "/v1/runs", "flood", 429, metav1.StatusReasonTooManyRequests},
		"no right":                   {"GET", "/v1/namespaces/default/runs", "ann", 403, metav1.StatusReasonForbidden},
		"a right that is not known":  {"GET", "/v1/namespaces/lost/runs", "ann", 503, metav1.StatusReasonServiceUnavailable},
		"a namespace that cannot be": {"GET", "/v1/namespaces/N_S/runs", "ann", 404, metav1.StatusReasonNotFound},
		"a run that cannot be":       {"GET", "/v1/namespaces/default/runs/A_B", "ann", 404, metav1.StatusReasonNotFound},
		"a run that is not":          {"GET", "/v1/namespaces/default/runs/a", "ann", 404, metav1.StatusReasonNotFound},
		"an unknown parameter":       {"GET", "/v1/runs?jobname=a", "ann", 400, metav1.StatusReasonBadRequest},
		"a parameter twice":          {"GET", "/v1/runs?limit=1&limit=2", "ann", 400, metav1.StatusReasonBadRequest},
		"a limit that is too high":   {"GET", "/v1/runs?limit=501", "ann", 400, metav1.StatusReasonBadRequest},
		"no label selector":          {"GET", "/v1/runs?labels=a%3D%3D%3Db", "ann", 400, metav1.StatusReasonBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			answer := g.send(tc.method, tc.path, "", "Authorization", "Bearer "+tc.token)
			answer.wantStatus(tc.code, tc.reason)
			if answer.Header().Get("X-Request-Id") == "" {
				t.Error("no request id")
			}
			if retry := answer.Header().Get("Retry-After"); (retry != "") != (tc.code == 429 || tc.code == 503) {
				t.Errorf("Retry-After: %q", retry)
			}
			if (answer.Header().Get("WWW-Authenticate") != "") != (tc.code == 401) {
				t.Error("WWW-Authenticate is that of a 401")
			}
		})
	}
}

func TestA405NamesTheMethods(t *testing.T) {
	if allow := newGate(t, apiserver.New()).send("PUT", "/v1/runs", "").Header().Get("Allow"); allow != "GET, HEAD" {
		t.Errorf("Allow: %q", allow)
	}
}

func TestA403NamesTheRight(t *testing.T) {
	g := newGate(t, apiserver.New())
	g.denied["trigger default/jobdefinitions/sync"] = true
	g.denied["list /jobruns/"] = true
	for request, wants := range map[[2]string][]string{
		{"POST", "/v1/namespaces/default/jobs/sync/runs"}: {
			`the verb trigger on jobdefinitions.batch.jobrun.dev "sync"`, `user "ann"`, `in namespace "default" (no rule)`,
			`this rule of a Role grants it: {apiGroups: ["batch.jobrun.dev"], resources: [jobdefinitions], resourceNames: [sync], verbs: [trigger]}`,
		},
		{"GET", "/v1/runs"}: {
			`the verb list on jobruns.batch.jobrun.dev`, `user "ann"`, `in all namespaces (no rule)`,
			`this rule of a ClusterRole, bound by a ClusterRoleBinding, grants it: {apiGroups: ["batch.jobrun.dev"], resources: [jobruns], verbs: [list]}`,
		},
	} {
		status := g.send(request[0], request[1], "").wantStatus(403, metav1.StatusReasonForbidden)
		for _, want := range wants {
			if !strings.Contains(status.Message, want) {
				t.Errorf("%s\ndoes not have %s", status.Message, want)
			}
		}
	}
}

func TestRequestID(t *testing.T) {
	g := newGate(t, apiserver.New())
	for sent, taken := range map[string]bool{"abc-1": true, "": false, "a b": false, strings.Repeat("x", 129): false} {
		got := g.send("GET", "/healthz", "", "X-Request-Id", sent).Header().Get("X-Request-Id")
		if got == "" || (got == sent) != taken {
			t.Errorf("%q became %q", sent, got)
		}
	}
}

func TestPublicRoutesNeedNoToken(t *testing.T) {
	g := newGate(t, apiserver.New())
	g.send("GET", "/readyz", "").wantStatus(503, metav1.StatusReasonServiceUnavailable)
	defer g.Drain()
	go g.followEvents(t.Context())
	<-g.streams.Synced()
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if got := g.send("GET", path, "", "Authorization", ""); got.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
	if g.asked.Load() > 0 {
		t.Error("asked for rights")
	}
}

// Addresses of the cluster are for the log, not for callers.
func TestErrorsShowNoAddresses(t *testing.T) {
	refused := &url.Error{Op: "Post", URL: "https://10.96.0.1:443/apis", Err: errors.New("dial tcp 10.96.0.1:443: connect: connection refused")}
	down := apierrors.NewInternalError(errors.New(`failed calling webhook "mjobrun.batch.jobrun.dev": Post "https://jobrun-webhook.jobrun-system.svc:443": dial tcp 10.96.0.7:443`))
	for name, tc := range map[string]struct {
		err  error
		path string
		body string
		kind string
	}{
		"a lost answer":          {refused, syncPath, "{}", jsonType},
		"no webhook":             {down, syncPath, "{}", jsonType},
		"no webhook, of a batch": {down, batchPath, `{"items":[{"jobName":"a"},{"jobName":"b"}]}`, jsonType},
		"no webhook, of a line":  {down, batchPath, `{"jobName":"a"}`, ndjsonType},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apiserver.New()
				s.OnCreate = func(*v1alpha1.JobRun, func() error) error { return tc.err }
				var logged []string
				g := newGate(t, s, func(o *Options) {
					o.Log = funcr.New(func(_, line string) { logged = append(logged, line) }, funcr.Options{})
				})
				got := g.send("POST", tc.path, tc.body, "Content-Type", tc.kind, "X-Request-Id", "id-1")
				if text := got.Body.String(); strings.Contains(text, "10.96.0") || strings.Contains(text, ".svc") || !strings.Contains(text, "X-Request-Id") {
					t.Error(text)
				}
				if text := strings.Join(logged, "|"); !strings.Contains(text, "dial tcp 10.96.0.") || !strings.Contains(text, `"requestID"="id-1"`) {
					t.Errorf("logged %s", text)
				}
			})
		})
	}
	got := newGate(t, failing{err: refused}).send("GET", "/v1/namespaces/default/runs", "")
	if status := got.wantStatus(503, metav1.StatusReasonServiceUnavailable); strings.Contains(status.Message, "10.96.0") {
		t.Error(status.Message)
	}
}

// failing is an API server that lists nothing.
type failing struct {
	client.WithWatch
	err error
}

func (f failing) List(context.Context, client.ObjectList, ...client.ListOption) error { return f.err }

func TestDraining(t *testing.T) {
	g := newGate(t, apiserver.New())
	g.Stopping()
	g.send("GET", "/readyz", "").wantStatus(503, metav1.StatusReasonServiceUnavailable)
	if got := g.send("GET", "/v1/whoami", ""); got.Code != http.StatusOK || got.Header().Get("Connection") != "close" {
		t.Errorf("while it stops: %d, Connection: %q", got.Code, got.Header().Get("Connection"))
	}
	g.Drain()
	if got := g.send("GET", "/v1/whoami", ""); got.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After: %q", got.Header().Get("Retry-After"))
	} else {
		got.wantStatus(503, metav1.StatusReasonServiceUnavailable)
	}
	if got := g.send("GET", "/healthz", ""); got.Code != http.StatusOK {
		t.Errorf("healthz: %d", got.Code)
	}
}

// A request in flight counts for its caller and for its namespace, until it is answered.
func TestInFlight(t *testing.T) {
	for name, tc := range map[string]struct {
		change      func(*Options)
		other, free string
	}{
		"of a caller":    {func(o *Options) { o.CallerInFlight = 1 }, "ann", "bob"},
		"of a namespace": {func(o *Options) { o.NamespaceInFlight = 1 }, "bob", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := apiserver.New()
			g := newGate(t, s, tc.change)
			entered, leave := make(chan struct{}), make(chan struct{})
			s.OnCreate = blocking(entered, leave)
			first := make(chan answer)
			go func() { first <- g.send("POST", "/v1/namespaces/default/jobs/sync/runs", "") }()
			<-entered
			g.send("GET", "/v1/namespaces/default/runs", "", "Authorization", "Bearer "+tc.other).wantStatus(429, metav1.StatusReasonTooManyRequests)
			if tc.free != "" {
				if got := g.send("GET", "/v1/namespaces/default/runs", "", "Authorization", "Bearer "+tc.free); got.Code != http.StatusOK {
					t.Errorf("another caller: %d %s", got.Code, got.Body)
				}
			}
			close(leave)
			if got := <-first; got.Code != http.StatusCreated {
				t.Errorf("the first one: %d %s", got.Code, got.Body)
			}
			if got := g.send("GET", "/v1/namespaces/default/runs", "", "Authorization", "Bearer "+tc.other); got.Code != http.StatusOK {
				t.Errorf("after it: %d %s", got.Code, got.Body)
			}
		})
	}
}

// A caller without a right does not take the room of a namespace.
func TestACallerWithoutTheRightTakesNoRoom(t *testing.T) {
	g := newGate(t, apiserver.New(), func(o *Options) { o.NamespaceInFlight = 1 })
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := g.Authorizer
	g.Authorizer = authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetUser().GetName() == "bob" {
			close(entered)
			<-leave
			return authorizer.DecisionNoOpinion, "", nil
		}
		return slow.Authorize(ctx, a)
	})
	bob := make(chan answer)
	go func() { bob <- g.send("GET", "/v1/namespaces/default/runs", "", "Authorization", "Bearer bob") }()
	<-entered
	if got := g.send("GET", "/v1/namespaces/default/runs", ""); got.Code != http.StatusOK {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	close(leave)
	(<-bob).wantStatus(403, metav1.StatusReasonForbidden)
}

func TestCORS(t *testing.T) {
	preflight := []string{"Origin", "https://a.example", "Access-Control-Request-Method", "POST", "Authorization", ""}
	const path = "/v1/namespaces/default/jobs/sync/runs"
	off := newGate(t, apiserver.New())
	if got := off.send("OPTIONS", path, "", preflight...); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("off: %d %v", got.Code, got.Header())
	}
	for allowed, want := range map[string]string{"https://a.example": "https://a.example", "*": "https://a.example", "https://b.example": ""} {
		g := newGate(t, apiserver.New(), func(o *Options) { o.AllowedOrigins = []string{allowed} })
		got := g.send("OPTIONS", path, "", preflight...)
		if got.Header().Get("Access-Control-Allow-Origin") != want || (got.Code == http.StatusNoContent) != (want != "") {
			t.Errorf("%s: preflight %d %v", allowed, got.Code, got.Header())
		}
		got = g.send("GET", "/v1/whoami", "", "Origin", "https://a.example")
		if got.Header().Get("Access-Control-Allow-Origin") != want || got.Header().Get("Vary") != "Origin" || got.Code != http.StatusOK {
			t.Errorf("%s: %d %v", allowed, got.Code, got.Header())
		}
		if got.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Error("credentials are allowed")
		}
	}
}

func TestAPanicIsA500(t *testing.T) {
	s := apiserver.New()
	s.OnCreate = blocking(nil, nil)
	g := newGate(t, s)
	g.Authorizer = authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) { panic("a secret") })
	answer := g.send("GET", "/v1/runs", "")
	if status := answer.wantStatus(500, metav1.StatusReasonInternalError); strings.Contains(status.Message, "secret") {
		t.Error(status.Message)
	}
	if _, err := g.callers.enter("the caller", "ann"); err != nil || g.callers.count["ann"] != 1 {
		t.Errorf("the request is still in flight: %v", g.callers.count)
	}
}

func TestMetrics(t *testing.T) {
	g := newGate(t, apiserver.New())
	g.send("GET", "/v1/namespaces/default/runs/a", "")
	g.send("BREW", "/coffee", "")
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, family := range families {
		if family.GetName() == "jobrun_gateway_requests_total" {
			for _, metric := range family.GetMetric() {
				line := ""
				for _, label := range metric.GetLabel() {
					line += label.GetValue() + " "
				}
				lines = append(lines, line)
			}
		}
	}
	if got := strings.Join(lines, "|"); got != "404 GET /v1/namespaces/{ns}/runs/{run} |404 other other " {
		t.Errorf("%q", got)
	}
}

// The handler serves HTTP/2.
func TestHTTP2(t *testing.T) {
	g := newGate(t, apiserver.New())
	server := httptest.NewUnstartedServer(g)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for range 2 {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/whoami", nil)
		request.Header.Set("Authorization", "Bearer ann")
		answer, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK {
			t.Errorf("%s %s %s", answer.Proto, answer.Status, text)
		}
	}
}
