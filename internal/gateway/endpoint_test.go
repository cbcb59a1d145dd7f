// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// serving is an Endpoint that serves over pipes without TLS, in a bubble of synctest.
type serving struct {
	listener pipes
	// stop ends the context of Start. ended has what Start returns.
	stop  context.CancelFunc
	ended chan error
}

// serve starts an Endpoint. The caller must stop it.
func (g *gate) serve(t *testing.T, protocols *http.Protocols) *serving {
	t.Helper()
	s := &serving{listener: make(pipes), ended: make(chan error, 1)}
	endpoint := &Endpoint{Server: g.Server, Listener: s.listener}
	server := endpoint.newServer()
	server.Protocols = protocols
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	go func() { s.ended <- endpoint.serve(ctx, server, server.Serve) }()
	return s
}

// connect opens a connection.
func (s *serving) connect() net.Conn {
	ours, theirs := net.Pipe()
	s.listener <- theirs
	return ours
}

func (s *serving) transport(protocols *http.Protocols) *http.Transport {
	return &http.Transport{
		Protocols:   protocols,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return s.connect(), nil },
	}
}

// post sends a request of ann, and returns the code and the body of the answer, or the error.
func post(t *testing.T, transport *http.Transport, path, body string) string {
	t.Helper()
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway"+path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer ann")
	request.Header.Set("Content-Type", jsonType)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, text)
}

// slowlyFor is an API server that takes so long for each create.
func slowlyFor(took time.Duration) *apiserver.Server {
	s := admitting(apiserver.Created)
	create := s.OnCreate
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		time.Sleep(took)
		return create(run, store)
	}
	return s
}

// What is under way when the gateway stops is answered before Start returns.
func TestStopAnswersWhatWasAccepted(t *testing.T) {
	overBoth(t, func(t *testing.T, protocols *http.Protocols) {
		const slow = 20 * time.Second
		endpoint := newGate(t, slowlyFor(slow)).serve(t, protocols)
		single, streaming := endpoint.transport(protocols), endpoint.transport(protocols)
		defer single.CloseIdleConnections()
		talk := talkThrough(t, streaming)
		defer talk.close()
		begun, created := time.Now(), make(chan string)
		go func() { created <- post(t, single, syncPath, "{}") }()
		_ = talk.say(strings.Repeat(`{"jobName":"sync"}`+"\n", 2))
		synctest.Wait()
		endpoint.stop()
		if got := <-created; !strings.HasPrefix(got, "201 ") {
			t.Errorf("the create: %s", got)
		}
		for line, want := range []int{http.StatusCreated, http.StatusCreated, http.StatusServiceUnavailable} {
			if answer, _ := talk.hear(); answer.Code != want || answer.Line != line+1 {
				t.Errorf("%+v, want %d for line %d", answer, want, line+1)
			}
		}
		if _, more := talk.hear(); more {
			t.Error("the stream goes on")
		}
		talk.close()
		if err := <-endpoint.ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < slow || took > slow+5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
