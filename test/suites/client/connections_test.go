// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"

	"k8s.io/client-go/rest"
)

// connections has the connections of the client under test. It can cut them, and lose answers.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	// lose reports whether the answer to a request must be lost. It may be nil.
	lose     func(*http.Request) bool
	requests []string
}

// watchConnections returns the connections of all clients that are made from the config.
func watchConnections(config *rest.Config) *connections {
	c := &connections{open: map[net.Conn]struct{}{}}
	config.Dial = c.dial
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &tap{c, next} })
	return c
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open[connection] = struct{}{}
	}
	return connection, err
}

// cut ends all connections.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for connection := range c.open {
		connection.Close()
		delete(c.open, connection)
	}
}

// losing loses the next n answers to creates.
func (c *connections) losing(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose = func(r *http.Request) bool {
		if r.Method != http.MethodPost || n == 0 {
			return false
		}
		n--
		return true
	}
}

func (c *connections) sent() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests
}

type tap struct {
	*connections
	next http.RoundTripper
}

// RoundTrip records a request. If lose demands it, RoundTrip drops the answer after the API server has executed the
// request.
func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	text := r.Method
	if strings.Contains(r.URL.RawQuery, "watch=true") {
		text = "WATCH"
	}
	t.requests = append(t.requests, text)
	lost := t.lose != nil && t.lose(r)
	t.mu.Unlock()
	response, err := t.next.RoundTrip(r)
	if err == nil && lost {
		response.Body.Close()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return response, err
}
