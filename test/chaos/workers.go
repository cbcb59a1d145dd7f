// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/jobrun-dev/jobrun/pkg/worker"
)

const (
	workerConcurrency = 6
	workLeast         = 20 * time.Millisecond
	workMost          = 400 * time.Millisecond
	// longWork is the time of one in longShare runs. It makes it likely that a worker has work when it is cut off.
	longWork  = 2 * time.Second
	longShare = 5
)

// crew has the workers of a namespace.
type crew struct {
	config    *rest.Config
	namespace string
	say       func(format string, args ...any)

	mu      sync.Mutex
	workers []*hand
	started int
	working sync.WaitGroup
}

// hand is one worker, with a network of its own.
type hand struct {
	wire *wire
	quit context.CancelFunc
}

// hire starts another worker.
func (c *crew) hire(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started++
	h := &hand{wire: &wire{open: map[net.Conn]struct{}{}}}
	config := rest.CopyConfig(c.config)
	config.Dial = h.wire.dial
	w, err := worker.NewForConfig(config, worker.Options{
		Namespace: c.namespace, Identity: fmt.Sprintf("worker-%d", c.started), Concurrency: workerConcurrency,
		ShutdownGrace: time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	w.Handle(jobByWorker, work)
	working, quit := context.WithCancel(ctx)
	h.quit = quit
	c.workers = append(c.workers, h)
	c.working.Go(func() {
		err := w.Run(working)
		if working.Err() == nil { // it gave up before it was told to end
			err = errors.Join(err, c.hire(ctx))
		}
		if err != nil {
			c.say("worker %s ended: %v", w.Identity(), err)
		}
	})
	return nil
}

// bury cuts a worker off for good, and starts another one.
func (c *crew) bury(ctx context.Context, n int) error {
	c.mu.Lock()
	h := c.workers[n%len(c.workers)]
	c.workers = append(c.workers[:n%len(c.workers)], c.workers[n%len(c.workers)+1:]...)
	c.mu.Unlock()
	h.wire.cut()
	h.quit()
	return c.hire(ctx)
}

// work handles a run: it waits for a random time.
func work(ctx context.Context, _ *worker.Run) (any, error) {
	takes := workLeast + rand.N(workMost-workLeast)
	if rand.N(longShare) == 0 {
		takes = longWork
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(takes):
		return map[string]bool{"done": true}, nil
	}
}

// wire is a network that can be cut.
type wire struct {
	mu   sync.Mutex
	off  bool
	open map[net.Conn]struct{}
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		w.open[connection] = struct{}{}
	}
	return connection, err
}

// cut ends all connections and refuses new ones.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = true
	for connection := range w.open {
		connection.Close()
	}
}
