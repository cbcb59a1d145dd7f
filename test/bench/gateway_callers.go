// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// dialing bounds the connections that are opened at once.
const dialing = 64

// connection is a caller's connection to the gateway: HTTP/1.1 over TLS. It sends bytes that are ready and decodes no JSON, so that
// the callers take little of the CPU time that they share with the gateway.
type connection struct {
	net.Conn
	answers *bufio.Reader
}

func dial(ctx context.Context, address string) (*connection, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // The gateway made its certificate itself.
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to the gateway: %w", err)
	}
	return &connection{conn, bufio.NewReader(conn)}, nil
}

// send sends a request and reads the answer. It must have so many dispositions.
func (c *connection) send(request []byte, want v1alpha1.Disposition, triggers int) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return fmt.Errorf("send a request to the gateway: %w", err)
	}
	response, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return fmt.Errorf("read the answer of the gateway: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the answer of the gateway: %w", err)
	}
	disposition := fmt.Appendf(nil, `"disposition":%q`, want)
	if bytes.Count(body, disposition) != triggers {
		return fmt.Errorf("the gateway answered %d triggers with %s %s, want %s for each", triggers, response.Status, body, disposition)
	}
	return nil
}

// rush is a number of requests by concurrent callers of the gateway.
type rush struct {
	gateway *gateway
	callers int
	// requests is the number of requests by all callers.
	requests int
	// request returns the i-th request.
	request func(i int) []byte
	// triggers is the number of triggers of each request, and want what becomes of each.
	triggers int
	want     v1alpha1.Disposition
	// every is the time from the beginning of one request to that of the next one. 0 means that each caller sends its next
	// request at once.
	every time.Duration
	// ready is called once all callers are connected, before the first request. It may be nil.
	ready func() error
}

// send opens a connection for each caller, and then sends all requests. It returns the time for these, and the latency of each.
func (r rush) send(ctx context.Context) (time.Duration, []time.Duration, error) {
	connections, err := r.connect(ctx)
	defer func() {
		for _, c := range connections {
			if c != nil {
				_ = c.Close() // The error of a request is returned.
			}
		}
	}()
	if err == nil && r.ready != nil {
		err = r.ready()
	}
	if err != nil {
		return 0, nil, err
	}
	var all latencies
	runtime.GC() // So that earlier garbage does not slow the measurement.
	var sent atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for _, c := range connections {
		group.Go(func() error {
			for {
				i := int(sent.Add(1)) - 1
				if i >= r.requests {
					return nil
				}
				if r.every > 0 {
					if err := pause(ctx, time.Until(begin.Add(time.Duration(i)*r.every))); err != nil {
						return err
					}
				}
				request, sent := r.request(i), time.Now()
				if err := c.send(request, r.want, r.triggers); err != nil {
					return err
				}
				all.add(time.Since(sent))
			}
		})
	}
	err = group.Wait()
	return time.Since(begin), all.took, err
}

// latencies are those of the requests that were answered.
type latencies struct {
	mu   sync.Mutex
	took []time.Duration
}

func (l *latencies) add(one time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, one)
}

// connect opens a connection for each caller.
func (r rush) connect(ctx context.Context) ([]*connection, error) {
	connections := make([]*connection, r.callers)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(dialing)
	for i := range connections {
		group.Go(func() (err error) {
			connections[i], err = dial(ctx, r.gateway.Address)
			return err
		})
	}
	return connections, group.Wait()
}
