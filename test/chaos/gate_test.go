// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// apiServer answers every request, and keeps what it was asked.
type apiServer struct{ bodies chan string }

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.bodies <- r.Method + " " + r.URL.String() + " " + string(body)
	w.Header().Set("Answer", "yes")
	w.WriteHeader(http.StatusCreated)
}

// clientOfGate starts an API server and a gate, and returns the API server and a client of the gate.
func clientOfGate(t *testing.T) (*apiServer, *gate, *http.Client) {
	t.Helper()
	api := &apiServer{make(chan string, 10)}
	server := httptest.NewTLSServer(api)
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	g, err := newGate(&replica{cluster: &cluster{traffic: newTraffic()}}, t.TempDir(), target, bundle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.close() })
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(g.bundle)
	return api, g, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}}}
}

// jobOf returns the Job of a run, as a manager sends it.
func jobOf(t *testing.T, run string) []byte {
	t.Helper()
	job := wrappers.MakeJob(wrappers.MakeJobRun(run).Key("k").Created().Obj(), 1).Obj()
	job.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("Job"))
	body, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestGate(t *testing.T) {
	const jobs = "/apis/batch/v1/namespaces/" + wrappers.Namespace + "/jobs?fieldManager=m"
	api, g, client := clientOfGate(t)
	clock := &stopwatch{began: time.Now()}
	post := func(run string) (*http.Response, error) {
		return client.Post("https://"+g.listen+jobs, "application/json", bytes.NewReader(jobOf(t, run)))
	}
	want := func(run string) {
		t.Helper()
		if got := <-api.bodies; got != "POST "+jobs+" "+string(jobOf(t, run)) {
			t.Errorf("the API server got %s", got)
		}
	}

	answer, err := post("a")
	if err != nil || answer.StatusCode != http.StatusCreated || answer.Header.Get("Answer") != "yes" {
		t.Fatalf("the create of a Job was answered with %v, %v", answer, err)
	}
	answer.Body.Close()
	want("a")

	held, release := g.traffic.hold("b", 0)
	defer release()
	if answer, err := post("b"); err == nil {
		answer.Body.Close()
		t.Fatal("a create that is held back was answered")
	}
	if len(api.bodies) > 0 || !held.isTaken(t.Context()) {
		t.Fatal("a create was not held back")
	}
	if !held.isDecided(t.Context()) {
		t.Error("a create that was held back was not answered")
	}
	want("b")

	creates, _, err := g.traffic.in(wrappers.Namespace, clock)
	if err != nil || len(creates) != 2 {
		t.Fatalf("%d creates: %v", len(creates), err)
	}
	for i, run := range []string{"a", "b"} {
		c := creates[i]
		if c.Run != run || c.Held != (run == "b") || c.Code != http.StatusCreated || c.Sent <= 0 || c.Answered < c.Sent {
			t.Errorf("create %d: %+v", i, c)
		}
	}
}

func TestHandedOver(t *testing.T) {
	traffic := newTraffic()
	for _, w := range []string{"1 n a", "2 n a", "1 n b", "1 n b", "1 m c", "2 m c", "3 n d", "1 n d"} {
		traffic.wroteStatus(w[:1], "/apis/x/namespaces/"+w[2:3]+"/jobruns/"+w[4:]+"/status")
	}
	if _, n, err := traffic.in("n", &stopwatch{}); n != 2 || err != nil {
		t.Errorf("%d runs were handed over: %v", n, err)
	}
}

func TestWritten(t *testing.T) {
	for request, want := range map[string][]string{
		"GET /apis/batch/v1/namespaces/n/jobs":      {"", ""},
		"POST /apis/batch/v1/namespaces/n/jobs":     {"jobs", ""},
		"PUT /apis/x/namespaces/n/jobruns/a/status": {"jobruns", "a/status"},
		"POST /apis/x/tokenreviews":                 {"", ""},
	} {
		method, path, _ := strings.Cut(request, " ")
		resource, name := written(httptest.NewRequest(method, path, nil))
		if got := []string{resource, name}; !slices.Equal(got, want) {
			t.Errorf("%s writes %q, want %q", request, got, want)
		}
	}
}
