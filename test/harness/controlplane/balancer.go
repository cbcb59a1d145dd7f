// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

const dialTimeout = 2 * time.Second

// Balancer is one address for several servers, like a Service. Each connection goes to the next server in turn, or to the
// one after it if that server does not answer. Connections are forwarded unchanged, including TLS.
type Balancer struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	backends []string
	next     int
	open     map[net.Conn]struct{} // nil once closed
}

// NewBalancer returns a Balancer on a free loopback port.
func NewBalancer(backends ...string) (*Balancer, error) {
	return NewBalancerOn("127.0.0.1", backends...)
}

// NewBalancerOn returns a Balancer on a free port of an address of this machine.
func NewBalancerOn(host string, backends ...string) (*Balancer, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	b := &Balancer{listener: listener, backends: backends, open: map[net.Conn]struct{}{}}
	b.serving.Go(b.accept)
	return b, nil
}

// Addr returns the host and port to connect to.
func (b *Balancer) Addr() string { return b.listener.Addr().String() }

// SetBackends replaces the servers for new connections.
func (b *Balancer) SetBackends(backends ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = backends
}

// Close closes the listener and all connections, and waits until they have ended.
func (b *Balancer) Close() error {
	err := b.listener.Close()
	b.mu.Lock()
	for connection := range b.open {
		connection.Close()
	}
	b.open = nil
	b.mu.Unlock()
	b.serving.Wait()
	return err
}

func (b *Balancer) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.serving.Go(func() { b.serve(client) })
	}
}

func (b *Balancer) serve(client net.Conn) {
	defer client.Close()
	backend := b.dial()
	if backend == nil {
		return
	}
	defer backend.Close()
	if !b.track(client, backend) {
		return
	}
	defer b.forget(client, backend)
	var both sync.WaitGroup
	both.Go(func() { forward(backend, client) })
	both.Go(func() { forward(client, backend) })
	both.Wait()
}

// dial tries each backend once, starting with the next in turn.
func (b *Balancer) dial() net.Conn {
	for _, address := range b.turn() {
		if connection, err := net.DialTimeout("tcp", address, dialTimeout); err == nil {
			return connection
		}
	}
	return nil
}

func (b *Balancer) turn() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.backends) == 0 {
		return nil
	}
	b.next = (b.next + 1) % len(b.backends)
	return slices.Concat(b.backends[b.next:], b.backends[:b.next])
}

// track adds connections for Close. It returns false if the balancer is closed.
func (b *Balancer) track(connections ...net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		return false
	}
	for _, connection := range connections {
		b.open[connection] = struct{}{}
	}
	return true
}

func (b *Balancer) forget(connections ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, connection := range connections {
		delete(b.open, connection)
	}
}

// forward copies one direction, and closes it when it ends. A broken connection ends both directions.
func forward(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	_ = to.(*net.TCPConn).CloseWrite() // The other side may have closed.
}
