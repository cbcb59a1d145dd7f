// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// roundTrip is a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// muted is a body that says no more until its request ends.
type muted struct{ ended <-chan struct{} }

func (m muted) Read([]byte) (int, error) {
	<-m.ended
	return 0, context.Canceled
}

// proxy answers as streams do, but the first requests of each kind: it accepts some, and never answers. Of others it sends the
// headers alone.
type proxy struct {
	ended string
	kinds map[string]int
}

func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	answer := &http.Response{StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(muted{r.Context().Done()})}
	switch p.kinds[kind]++; p.kinds[kind] {
	case 1:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case 2:
		return answer, nil
	}
	text := runIn("a", v1alpha1.PhasePending)
	switch {
	case kind == "runs":
		text = listOf("7", text)
	case kind == "events" && p.kinds[kind] == 3:
		p.ended = strings.Replace(runIn("a", v1alpha1.PhaseCompleted), `"resourceVersion":"1"`, `"resourceVersion":"2"`, 1)
		text = told(jobrun.EventComplete, p.ended, "", "8")
	case kind == "events":
		text = last()
	case p.ended != "":
		text = p.ended
	}
	answer.Body = io.NopCloser(strings.NewReader(text))
	return answer, nil
}

// through returns a client of a gateway behind a network.
func through(t *testing.T, network http.RoundTripper) *jobrun.GatewayClient {
	t.Helper()
	runs, err := jobrun.NewForGateway(jobrun.GatewayOptions{
		URL: "http://gateway", Token: func(context.Context) (string, error) { return "secret", nil },
		HTTPClient: &http.Client{Transport: network},
	}, "default")
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// A proxy may accept a request and never answer, or never end the answer. Watch and Wait then send another one.
func TestGatewayWaitAtASilentProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		p := &proxy{kinds: map[string]int{}}
		outcome, err := through(t, p).Wait(ctx, "a")
		if err != nil || outcome.JobRun.Status.Phase != v1alpha1.PhaseCompleted {
			t.Errorf("%+v, %v after %v", outcome, err, p.kinds)
		}
	})
}

func TestGatewayWatchAtASilentProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		p := &proxy{kinds: map[string]int{"runs": 2}}
		events, err := through(t, p).Watch(ctx, jobrun.Selector{})
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range events {
			if err != nil {
				t.Fatalf("%v after %v", err, p.kinds)
			}
			if e.Run.Name == "last" {
				return
			}
		}
	})
}

// The caller of a read learns why it failed.
func TestGatewayReadsAtASilentProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		runs := through(t, &proxy{kinds: map[string]int{}})
		for range 2 {
			_, err := runs.List(t.Context(), jobrun.Selector{})
			if err == nil || !strings.Contains(err.Error(), "the gateway was silent for 45s") {
				t.Errorf("%v", err)
			}
		}
		if all, err := runs.List(t.Context(), jobrun.Selector{}); err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
		if took := time.Since(began); took != 90*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// The loop over a Watch may take its time: only the gateway's silence counts. A comment is no silence.
func TestGatewayWatchOfASlowLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened int
		network := roundTrip(func(r *http.Request) (*http.Response, error) {
			text := io.Reader(strings.NewReader(listOf("7")))
			if strings.HasSuffix(r.URL.Path, "/events") {
				opened++
				reading, writing := io.Pipe()
				text = reading
				context.AfterFunc(r.Context(), func() { _ = reading.CloseWithError(context.Canceled) })
				go func() {
					_, _ = io.WriteString(writing, told(jobrun.EventTrigger, runIn("a", v1alpha1.PhasePending), "", "8"))
					for range 4 {
						time.Sleep(30 * time.Second)
						_, _ = io.WriteString(writing, ":\n\n")
					}
					_, _ = io.WriteString(writing, last())
				}()
			}
			return &http.Response{StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(text)}, nil
		})
		events, err := through(t, network).Watch(t.Context(), jobrun.Selector{})
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range events {
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == jobrun.EventDelete {
				break
			}
			time.Sleep(time.Minute)
		}
		if opened != 1 {
			t.Errorf("%d streams", opened)
		}
	})
}

// The end of the caller's own ctx is told as that.
func TestGatewayReadThatIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := through(t, &proxy{kinds: map[string]int{}}).Get(ctx, "a")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
