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
	"slices"
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
	// victimWork is longer than a victim lives.
	victimWork = time.Minute
)

// crew has the workers of a namespace.
type crew struct {
	config    *rest.Config
	namespace string
	say       func(format string, args ...any)

	mu      sync.Mutex
	workers []*hand
	started int
	// victims has the workers to cut off, by the run that they will claim.
	victims map[string]*victim
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
	w.Handle(jobByWorker, func(ctx context.Context, run *worker.Run) (any, error) { return c.work(ctx, h, run.JobRun().Name) })
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

// drawn returns the worker that an injection has drawn.
func (c *crew) drawn(i Injection) *hand {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workers[i.Draw%uint64(len(c.workers))]
}

// bury cuts a worker off for good, and starts another one, unless that was done before.
func (c *crew) bury(ctx context.Context, h *hand) error {
	c.mu.Lock()
	n := slices.Index(c.workers, h)
	if n >= 0 {
		c.workers = slices.Delete(c.workers, n, n+1)
	}
	c.mu.Unlock()
	if n < 0 {
		return nil
	}
	h.wire.cut()
	h.quit()
	return c.hire(ctx)
}

// victim is the first worker that claims a certain run. It does not end that run.
type victim struct {
	found  chan struct{} // closed when there is a worker
	worker *hand
}

func (v *victim) isFound(context.Context) bool {
	select {
	case <-v.found:
		return true
	default:
		return false
	}
}

// condemn makes the first worker that claims a run a victim. After spare, workers execute the run as any other.
func (c *crew) condemn(run string) (v *victim, spare func()) {
	v = &victim{found: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.victims[run] = v
	return v, func() { c.spare(run) }
}

// spare returns the victim of a run, once; nil if there is none.
func (c *crew) spare(run string) *victim {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.victims[run]
	delete(c.victims, run)
	return v
}

// work handles a run: it waits for a random time, or until the worker is cut off.
func (c *crew) work(ctx context.Context, h *hand, run string) (any, error) {
	takes := workLeast + rand.N(workMost-workLeast)
	if rand.N(longShare) == 0 {
		takes = longWork
	}
	if v := c.spare(run); v != nil {
		v.worker, takes = h, victimWork
		close(v.found)
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
