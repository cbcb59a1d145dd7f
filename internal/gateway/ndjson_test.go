// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// talk is a stream of triggers, whose client sends line by line.
type talk struct {
	t       *testing.T
	body    *io.PipeWriter
	answers *bufio.Scanner
	close   func()
}

// talk opens a stream of ann over a pipe with HTTP/1.1, in a bubble of synctest.
func (g *gate) talk(t *testing.T) *talk {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return g.talkOver(t, protocols)
}

// overBoth runs a test of a stream in a bubble of synctest, with each protocol.
func overBoth(t *testing.T, test func(t *testing.T, protocols *http.Protocols)) {
	t.Helper()
	for name, set := range map[string]func(*http.Protocols, bool){
		"HTTP/1.1": (*http.Protocols).SetHTTP1, "HTTP/2": (*http.Protocols).SetUnencryptedHTTP2,
	} {
		protocols := &http.Protocols{}
		set(protocols, true)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, protocols) })
		})
	}
}

func (g *gate) talkOver(t *testing.T, protocols *http.Protocols) *talk {
	t.Helper()
	listener := make(pipes)
	server := &http.Server{Handler: g, ReadHeaderTimeout: headerTimeout, Protocols: protocols}
	go func() { _ = server.Serve(listener) }()
	transport := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		listener <- theirs
		return ours, nil
	}}
	talk := talkThrough(t, transport)
	end := talk.close
	talk.close = func() {
		end()
		_ = server.Close()
	}
	return talk
}

// talkThrough opens a stream of ann through a transport.
func talkThrough(t *testing.T, transport *http.Transport) *talk {
	t.Helper()
	body, send := io.Pipe()
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway"+batchPath, body)
	request.Header.Set("Authorization", "Bearer ann")
	request.Header.Set("Content-Type", ndjsonType)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	return &talk{t: t, body: send, answers: bufio.NewScanner(answer.Body), close: func() {
		send.Close()
		answer.Body.Close()
		transport.CloseIdleConnections()
	}}
}

// say sends a text, and returns an error once the stream is over.
func (c *talk) say(text string) error {
	_, err := io.WriteString(c.body, text)
	return err
}

// hear returns the next answer. It returns false at the end of the stream.
func (c *talk) hear() (LineAnswer, bool) {
	c.t.Helper()
	if !c.answers.Scan() {
		return LineAnswer{}, false
	}
	var answer LineAnswer
	if err := json.Unmarshal(c.answers.Bytes(), &answer); err != nil {
		c.t.Fatalf("%v in %s", err, c.answers.Text())
	}
	return answer, true
}

// A stream ends whose client sends no trigger for a minute, whatever else it sends.
func TestAStreamWithoutTriggersEnds(t *testing.T) {
	for name, sent := range map[string]string{"nothing": "", "empty lines": "\n", "a line in parts": "x"} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, protocols *http.Protocols) {
				g, begun := newGate(t, admitting(apiserver.Created)), time.Now()
				talk := g.talkOver(t, protocols)
				var sending sync.WaitGroup
				defer sending.Wait()
				defer talk.close()
				sending.Go(func() {
					for time.Since(begun) < 5*linePatience && talk.say(sent) == nil {
						time.Sleep(10 * time.Second)
					}
				})
				last, _ := talk.hear()
				if _, more := talk.hear(); more || last.Code != http.StatusRequestTimeout {
					t.Errorf("%+v, and there is more: %t", last, more)
				}
				if took := time.Since(begun); took < linePatience || took > linePatience+10*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// A stream whose client sends triggers goes on. It ends within a minute once its caller may trigger no longer, or is known no longer.
func TestAStreamIsAskedAboutAgain(t *testing.T) {
	for name, code := range map[string]int{"a token that ends": 401, "a right that ends": 403} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var revoked atomic.Bool
				g := newGate(t, admitting(apiserver.Created), func(o *Options) {
					o.Authenticator = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
						answer, ok, err := authenticateByName(r)
						return answer, ok && (code != 401 || !revoked.Load()), err
					})
					o.Authorizer = authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
						if code == 403 && revoked.Load() {
							return authorizer.DecisionNoOpinion, "", nil
						}
						return authorizer.DecisionAllow, "", nil
					})
				})
				talk := g.talk(t)
				var sending sync.WaitGroup
				defer sending.Wait()
				defer talk.close()
				begun := time.Now()
				over := begun.Add(20 * time.Minute)
				sending.Go(func() {
					for time.Now().Before(over) && talk.say(`{"jobName":"sync"}`+"\n") == nil {
						time.Sleep(20 * time.Second)
					}
				})
				for time.Since(begun) < 10*time.Minute {
					if answer, _ := talk.hear(); answer.Code != http.StatusCreated {
						t.Fatalf("%+v after %s", answer, time.Since(begun))
					}
				}
				revoked.Store(true)
				begun = time.Now()
				last := LineAnswer{}
				for answer, more := talk.hear(); more; answer, more = talk.hear() {
					last = answer
				}
				if last.Code != code || time.Since(begun) > time.Minute {
					t.Errorf("%+v after %s", last, time.Since(begun))
				}
			})
		})
	}
}

// Streams of triggers count with those of events and of logs.
func TestStreamsOfTriggersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, admitting(apiserver.Created), func(o *Options) { o.Streams.PerCaller = 1 })
		talk := g.talk(t)
		send := func() answer {
			return g.send("POST", batchPath, `{"jobName":"a"}`, "Content-Type", ndjsonType)
		}
		send().wantStatus(429, metav1.StatusReasonTooManyRequests)
		talk.close()
		synctest.Wait()
		if got := send(); got.Code != http.StatusOK {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	})
}

// An answer does not wait for that of the next line. A stream may write nothing for longer than writePatience.
func TestAnAnswerIsSentAtOnce(t *testing.T) {
	overBoth(t, func(t *testing.T, protocols *http.Protocols) {
		const slow = 2 * writePatience
		s := admitting(apiserver.Created)
		create := s.OnCreate
		s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
			if run.Spec.JobName == "slow" {
				time.Sleep(slow)
			}
			return create(run, store)
		}
		talk, begun := newGate(t, s).talkOver(t, protocols), time.Now()
		defer talk.close()
		_ = talk.say(`{"jobName":"a"}` + "\n" + `{"jobName":"slow"}` + "\n" + `{"jobName":"b"}` + "\n")
		for line, want := range []time.Duration{0, slow, slow} {
			answer, _ := talk.hear()
			if took := time.Since(begun); answer.Code != http.StatusCreated || answer.Line != line+1 || took != want {
				t.Errorf("after %s: %+v", took, answer)
			}
		}
	})
}

// The time in which a line must come ends with it, however long the lines before it take.
func TestALineMayWaitForThoseBeforeIt(t *testing.T) {
	overBoth(t, func(t *testing.T, protocols *http.Protocols) {
		const lines, slow = 2 * linesAtOnce, 2 * linePatience
		s := admitting(apiserver.Created)
		create := s.OnCreate
		s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
			time.Sleep(slow)
			return create(run, store)
		}
		talk := newGate(t, s).talkOver(t, protocols)
		defer talk.close()
		go func() {
			_ = talk.say(strings.Repeat(`{"jobName":"a"}`+"\n", lines))
			time.Sleep(slow)
			_ = talk.say(`{"jobName":"a"}` + "\n")
		}()
		for line := range lines + 1 {
			if answer, _ := talk.hear(); answer.Code != http.StatusCreated || answer.Line != line+1 {
				t.Fatalf("%+v, not line %d", answer, line+1)
			}
		}
	})
}

// What has come of a line counts among the bodies in memory, before the line is whole.
func TestALineInPartsIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, admitting(apiserver.Created))
		talk := g.talk(t)
		defer talk.close()
		long := `{"jobName":"a","input":"` + strings.Repeat("x", 3*lineBuffer)
		if err := talk.say(long); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if held := heldBy(g, "ann"); held < 2*lineBuffer {
			t.Errorf("%d bytes are held", held)
		}
		_ = talk.say("\"}\n")
		if answer, _ := talk.hear(); answer.Code != http.StatusCreated {
			t.Errorf("%+v", answer)
		}
		synctest.Wait()
		if held := heldBy(g, "ann"); held != 0 {
			t.Errorf("%d bytes are still held", held)
		}
		g.bodies.take("ann", callerBodiesBytes-lineBuffer)
		fmt.Fprint(talk.body, long+"\"}\n")
		if answer, _ := talk.hear(); answer.Code != http.StatusTooManyRequests {
			t.Errorf("%+v", answer)
		}
		fmt.Fprintln(talk.body, `{"jobName":"a"}`)
		if answer, _ := talk.hear(); answer.Code != http.StatusCreated || answer.Line != 3 {
			t.Errorf("%+v", answer)
		}
	})
}

func heldBy(g *gate, caller string) int64 {
	g.bodies.mu.Lock()
	defer g.bodies.mu.Unlock()
	return g.bodies.caller[caller]
}
