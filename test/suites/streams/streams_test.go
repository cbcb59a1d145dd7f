// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// output is what a program prints.
type output struct {
	t     *testing.T
	lines chan string
	seen  []string
}

// run starts a program, which is killed at the end of the test.
func run(t *testing.T, environment []string, name string, args ...string) *output {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	program := exec.CommandContext(ctx, name, args...)
	program.Env = append(os.Environ(), environment...)
	program.Stderr = os.Stderr
	stdout, err := program.StdoutPipe()
	if err == nil {
		err = program.Start()
	}
	if err != nil {
		cancel()
		t.Fatalf("start %s, which `make test-suites` installs: %v", name, err)
	}
	o := &output{t: t, lines: make(chan string, 10000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(o.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			o.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = program.Wait()
	})
	return o
}

// until reads lines until all of these were there, in any order.
func (o *output) until(lines ...string) {
	o.t.Helper()
	timeout := time.After(patience)
	missing := func(line string) bool { return !slices.Contains(o.seen, line) }
	for slices.ContainsFunc(lines, missing) {
		select {
		case line, open := <-o.lines:
			if !open {
				o.t.Fatalf("the program ended after %q, not %q", o.seen, lines)
			}
			o.seen = append(o.seen, line)
		case <-timeout:
			o.t.Fatalf("got only %q, not %q", o.seen, lines)
		}
	}
}

// has reports whether a line was there so far.
func (o *output) has(line string) bool {
	for {
		select {
		case next, open := <-o.lines:
			if open {
				o.seen = append(o.seen, next)
				continue
			}
		default:
		}
		return slices.Contains(o.seen, line)
	}
}

// An EventSource that loses its gateway gets everything from the next one: from one that starts later, by what the API server
// knows of the past, and from one that was there, by its history.
func TestEventSourceSurvivesTheLossOfAGateway(t *testing.T) {
	token, _ := viewer(t)
	balancer, err := controlplane.NewBalancer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = balancer.Close() })
	first := startGateway(t, clock.RealClock{}, events.DefaultOptions)
	balancer.SetBackends(first.Addr().String())
	library := checkout.Path("bin", "eventsource", "node_modules", "eventsource", "dist", "index.js")
	if _, err := os.Stat(library); err != nil {
		t.Fatalf("this test needs `make eventsource`: %v", err)
	}
	source := run(t, []string{"URL=" + streamURL(balancer.Addr(), ""), "TOKEN=" + token, "NODE_TLS_REJECT_UNAUTHORIZED=0", "NODE_NO_WARNINGS=1"},
		"node", "testdata/listen.mjs", library)
	source.until("open")
	a := trigger(t, "a")
	source.until("run:trigger a")

	balancer.SetBackends()
	first.kill()
	lease(t, a)
	b := trigger(t, "b")
	second := startGateway(t, clock.RealClock{}, events.DefaultOptions)
	balancer.SetBackends(second.Addr().String())
	source.until("run:leased a", "run:trigger b")

	third := startGateway(t, clock.RealClock{}, events.DefaultOptions)
	synced := run(t, nil, "curl", "-skN", "-H", "Authorization: Bearer "+token, streamURL(third.Addr().String(), "run=a"))
	synced.until("event: run:leased") // The third one follows the runs.
	balancer.SetBackends()
	second.kill()
	lease(t, b)
	complete(t, a)
	balancer.SetBackends(third.Addr().String())
	source.until("run:leased b", "run:complete a")
	if slices.Contains(source.seen, "reset") {
		t.Errorf("reset in %q", source.seen)
	}
	synced.until("event: run:complete")
}

func TestCurl(t *testing.T) {
	token, _ := viewer(t)
	address := startGateway(t, clock.RealClock{}, events.DefaultOptions).Addr().String()
	before := trigger(t, "before")
	for _, version := range []string{"1.1", "2"} {
		curl := run(t, nil, "curl", "-siNk", "--http"+version, "-H", "Authorization: Bearer "+token, streamURL(address, "jobName=sync"))
		name := "http" + strings.ReplaceAll(version, ".", "")
		curl.until(map[string]string{"1.1": "HTTP/1.1 200 OK", "2": "HTTP/2 200 "}[version], "")
		lease(t, trigger(t, name))
		curl.until("event: run:trigger", "event: run:leased")
		resumed := run(t, nil, "curl", "-siNk", "--http"+version, "-H", "Authorization: Bearer "+token,
			"-H", "Last-Event-ID: "+before.ResourceVersion, streamURL(address, ""))
		resumed.until("event: run:trigger", "event: run:leased")
	}
	refused := run(t, nil, "curl", "-sNk", "-o", "/dev/null", "-w", "%{http_code}\n", "-H", "Authorization: Bearer nonsense", streamURL(address, ""))
	refused.until("401")
}

// A stream lives as long as its caller's right, and no longer. Its token is asked about again, too.
func TestRightsAreAskedAgain(t *testing.T) {
	token, revoke := viewer(t)
	watch := clocktesting.NewFakeClock(time.Now().Add(time.Hour))
	address := startGateway(t, watch, events.DefaultOptions).Addr().String()
	curl := run(t, nil, "curl", "-sNk", "-H", "Authorization: Bearer "+token, streamURL(address, ""))
	curl.until("")
	for i := range 3 {
		trigger(t, fmt.Sprintf("while-allowed-%d", i))
		curl.until("event: run:trigger")
		curl.seen = nil
		watch.Step(time.Minute)
	}
	revoke()
	err := wait.PollUntilContextTimeout(t.Context(), time.Second, patience, true, func(context.Context) (bool, error) {
		watch.Step(time.Minute) // The gateway believes an answer for 10 s.
		return curl.has("event: error"), nil
	})
	if err != nil {
		t.Errorf("the stream goes on: %v after %q", err, curl.seen)
	}
}
