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

	"golang.org/x/net/http2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

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

// exchange sends a request of ann, and returns the code and the body of the answer, or the error.
func exchange(t *testing.T, transport *http.Transport, method, path, body string) string {
	t.Helper()
	request, _ := http.NewRequestWithContext(t.Context(), method, "http://gateway"+path, strings.NewReader(body))
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
		go func() { created <- exchange(t, single, "POST", syncPath, "{}") }()
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

// Whatever was accepted is answered while the gateway drains, however long it would take.
func TestNothingAcceptedOutlivesTheDrain(t *testing.T) {
	overBoth(t, func(t *testing.T, protocols *http.Protocols) {
		slow := func(ctx context.Context, took time.Duration) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(took):
				return nil
			}
		}
		s := admitting(apiserver.Created)
		g := newGate(t, interceptor.NewClient(s, interceptor.Funcs{
			Create: func(ctx context.Context, api client.WithWatch, object client.Object, options ...client.CreateOption) error {
				if err := slow(ctx, createTimeout-time.Second); err != nil {
					return err
				}
				return api.Create(ctx, object, options...)
			},
			Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
				if err := slow(ctx, time.Hour); err != nil {
					return err
				}
				return api.Get(ctx, key, object, options...)
			},
		}))
		endpoint := g.serve(t, protocols)
		talk := talkThrough(t, endpoint.transport(protocols))
		defer talk.close()
		answers := make(chan string)
		send := func(method, path, body string) {
			transport := endpoint.transport(protocols)
			defer transport.CloseIdleConnections()
			answers <- path + " " + exchange(t, transport, method, path, body)
		}
		item := `{"jobName":"sync"},`
		go send("POST", batchPath, `{"items":[`+strings.TrimSuffix(strings.Repeat(item, 10), ",")+`]}`)
		go send("GET", "/v1/namespaces/default/runs/a", "")
		go send("POST", syncPath, fmt.Sprintf(skipping, 1))
		time.Sleep(createTimeout / 2)
		go send("POST", syncPath, fmt.Sprintf(skipping, 2))
		go func() { _ = talk.say(strings.Repeat(`{"jobName":"sync"}`+"\n", 3*linesAtOnce)) }()
		synctest.Wait()
		begun := time.Now()
		endpoint.stop()
		for range 4 {
			if got := <-answers; !strings.Contains(got, `"disposition":"Created"`) && !strings.Contains(got, `"kind":"Status"`) {
				t.Error(got)
			}
		}
		last := LineAnswer{}
		for answer, more := talk.hear(); more; answer, more = talk.hear() {
			if answer.Line != last.Line+1 {
				t.Errorf("line %d after line %d", answer.Line, last.Line)
			}
			last = answer
		}
		if last.Status == nil || last.Status.Message != errStreamStops.Error() {
			t.Errorf("the stream ends with %+v", last)
		}
		if took := time.Since(begun); took > stoppingTime+acceptedTime+cutTime {
			t.Errorf("the last answer came after %s", took)
		}
		talk.close()
		if err := <-endpoint.ended; err != nil {
			t.Error(err)
		}
	})
}

// plain is HTTP/1.1 alone.
func plain() *http.Protocols {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return protocols
}

// raw sends a text on a connection of its own, waits, and returns what comes until the Endpoint closes the connection, and how long
// after the text that is.
func (s *serving) raw(t *testing.T, text string, wait time.Duration) (answer string, closed time.Duration) {
	t.Helper()
	conn, begun := s.connect(), time.Now()
	defer conn.Close()
	_ = conn.SetDeadline(begun.Add(time.Hour))
	go func() { _, _ = io.WriteString(conn, text) }()
	time.Sleep(wait)
	read, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("the connection stays: %v", err)
	}
	return string(read), time.Since(begun)
}

func TestConnectionsOfSlowClientsEnd(t *testing.T) {
	const whoami = "GET /v1/whoami HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer ann\r\n"
	for name, tc := range map[string]struct {
		text string
		wait time.Duration
		// code is the beginning of the answer, want when the connection ends.
		code string
		want time.Duration
	}{
		"nothing comes":            {"", 0, "", headerTimeout},
		"the header does not end":  {whoami, 0, "", headerTimeout},
		"no second request":        {whoami + "\r\n", 0, "HTTP/1.1 200 OK", idleTimeout},
		"the answer is not read":   {whoami + "\r\n", writePatience + time.Second, "", writePatience + time.Second},
		"the answer is read late":  {whoami + "Connection: close\r\n\r\n", writePatience - time.Second, "HTTP/1.1 200 OK", writePatience - time.Second},
		"a refusal is not read":    {"GET /v1/whoami HTTP/1.1\r\nHost: g\r\n\r\n", writePatience + time.Second, "", writePatience + time.Second},
		"the header is long":       {whoami + "X: " + strings.Repeat("x", maxHeaderBytes-300) + "\r\nConnection: close\r\n\r\n", 0, "HTTP/1.1 200 OK", 0},
		"the header is far longer": {whoami + "X: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", 0, "HTTP/1.1 431 ", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				endpoint := newGate(t, apiserver.New()).serve(t, plain())
				answer, closed := endpoint.raw(t, tc.text, tc.wait)
				if !strings.HasPrefix(answer, tc.code) || (answer == "") != (tc.code == "") {
					t.Errorf("%q, want %q", answer, tc.code)
				}
				if closed < tc.want || closed > tc.want+time.Second {
					t.Errorf("closed after %s, want %s", closed, tc.want)
				}
				endpoint.stop()
				if err := <-endpoint.ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// HTTP/2 tells its bounds to each client.
func TestBoundsOfHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		protocols := &http.Protocols{}
		protocols.SetUnencryptedHTTP2(true)
		endpoint := newGate(t, apiserver.New()).serve(t, protocols)
		conn := endpoint.connect()
		framer := http2.NewFramer(conn, conn)
		go func() {
			_, _ = io.WriteString(conn, http2.ClientPreface)
			_ = framer.WriteSettings()
		}()
		frame, err := framer.ReadFrame()
		settings, ok := frame.(*http2.SettingsFrame)
		if !ok {
			t.Fatalf("%v, %v", frame, err)
		}
		if streams, _ := settings.Value(http2.SettingMaxConcurrentStreams); streams != maxStreams {
			t.Errorf("%d streams", streams)
		}
		if header, _ := settings.Value(http2.SettingMaxHeaderListSize); header < maxHeaderBytes || header > maxHeaderBytes+1024 {
			t.Errorf("%d bytes of a header", header)
		}
		conn.Close()
		endpoint.stop()
		if err := <-endpoint.ended; err != nil {
			t.Error(err)
		}
	})
}
