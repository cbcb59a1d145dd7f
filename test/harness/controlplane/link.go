// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"io"
	"net"
	"sync"
)

// Link is an address of a server behind a network that can be cut. As with TCP, a cut loses neither connections nor data:
// data that is sent during the cut arrives after it. Neither side learns of the cut.
type Link struct {
	listener net.Listener
	server   string
	serving  sync.WaitGroup

	mu     sync.Mutex
	change *sync.Cond
	cut    bool
	closed bool
	open   map[net.Conn]struct{}
}

// NewLink returns a Link on a free loopback port.
func NewLink(server string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Link{listener: listener, server: server, open: map[net.Conn]struct{}{}}
	l.change = sync.NewCond(&l.mu)
	l.serving.Go(l.accept)
	return l, nil
}

// Addr returns the host and port to connect to.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut stops all data in both directions.
func (l *Link) Cut() { l.set(func() { l.cut = true }) }

// Heal passes data again, starting with the data that was held back.
func (l *Link) Heal() { l.set(func() { l.cut = false }) }

// Close closes the listener and all connections, and waits until they have ended.
func (l *Link) Close() error {
	err := l.listener.Close()
	l.set(func() {
		l.closed = true
		for connection := range l.open {
			connection.Close()
		}
	})
	l.serving.Wait()
	return err
}

func (l *Link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.change.Broadcast()
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.serving.Go(func() { l.serve(client) })
	}
}

func (l *Link) serve(client net.Conn) {
	defer client.Close()
	if !l.track(client) || !l.pass() {
		return
	}
	server, err := net.DialTimeout("tcp", l.server, dialTimeout)
	if err != nil {
		return
	}
	defer server.Close()
	if !l.track(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { forward(server, l.delayed(client)) })
	both.Go(func() { forward(client, l.delayed(server)) })
	both.Wait()
}

// track adds a connection for Close. It returns false if the link is closed.
func (l *Link) track(connection net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[connection] = struct{}{}
	return !l.closed
}

// pass waits while the network is cut. It returns false if the link is closed.
func (l *Link) pass() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.cut && !l.closed {
		l.change.Wait()
	}
	return !l.closed
}

// delayed returns a connection whose reads wait while the network is cut.
func (l *Link) delayed(connection net.Conn) net.Conn { return delayedConn{connection, l} }

type delayedConn struct {
	net.Conn
	link *Link
}

func (c delayedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.link.pass() {
		return 0, io.ErrClosedPipe
	}
	return n, err
}
