// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

// process is a worker with a network of its own.
type process struct {
	*worker.Worker
	wire *wire
	quit context.CancelFunc
	done chan struct{}
	err  error
}

func startWorker(o worker.Options, h worker.Handler) *process {
	GinkgoHelper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	p := &process{wire: &wire{open: map[net.Conn]struct{}{}, calls: map[string]int{}}, done: make(chan struct{})}
	config.Dial = p.wire.dial
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &tap{p.wire, next} })
	o.Namespace, o.Logger = ns, logger
	p.Worker, err = worker.NewForConfig(config, o)
	Expect(err).NotTo(HaveOccurred())
	p.Handle("sync", h)
	working, quit := context.WithCancel(ctx)
	p.quit = quit
	go func() {
		defer close(p.done)
		p.err = p.Run(working)
	}()
	DeferCleanup(func() {
		p.wire.cut(false)
		quit()
		Eventually(p.done).Should(BeClosed())
	})
	return p
}

// wire is a worker's network. It can be cut.
type wire struct {
	mu    sync.Mutex
	off   bool
	open  map[net.Conn]struct{}
	calls map[string]int
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

// cut ends all connections, and refuses new ones while off is true.
func (w *wire) cut(off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = off
	for connection := range w.open {
		connection.Close()
		delete(w.open, connection)
	}
}

func (w *wire) counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[string]int{}
	for call, n := range w.calls {
		counts[call] = n
	}
	return counts
}

type tap struct {
	wire *wire
	next http.RoundTripper
}

func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	call := r.Method
	if strings.Contains(r.URL.RawQuery, "watch=true") {
		call = "WATCH"
	}
	t.wire.mu.Lock()
	t.wire.calls[call]++
	t.wire.mu.Unlock()
	return t.next.RoundTrip(r)
}

// ledger counts the calls of handlers.
type ledger struct {
	mu        sync.Mutex
	executing map[string]int // by key
	worst     int            // the highest of executing
	calls     map[string]int // by run and generation
}

func newLedger() *ledger { return &ledger{executing: map[string]int{}, calls: map[string]int{}} }

func (l *ledger) begin(run *worker.Run) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[fmt.Sprintf("%s/%d", run.Name, run.Generation)]++
	l.executing[run.ConcurrencyKey]++
	l.worst = max(l.worst, l.executing[run.ConcurrencyKey])
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.executing[run.ConcurrencyKey]--
	}
}

func spec(key string, seconds int32) v1alpha1.JobRunSpec {
	return v1alpha1.JobRunSpec{JobName: "sync", ConcurrencyKey: key, LeaseDurationSeconds: seconds}
}

func trigger(name string, s v1alpha1.JobRunSpec) {
	GinkgoHelper()
	Eventually(func() error {
		_, err := runs.Trigger(ctx, s, jobrun.WithName(name))
		if err != nil && !errors.Is(err, jobrun.ErrConflict) && !errors.Is(err, jobrun.ErrReserved) {
			return StopTrying("cannot trigger").Wrap(err)
		}
		return err
	}).Should(Succeed())
}

func get(name string) func() (*v1alpha1.JobRun, error) {
	return func() (*v1alpha1.JobRun, error) { return runs.Get(ctx, name) }
}

func inPhase(phase v1alpha1.Phase) types.GomegaMatcher { return HaveField("Status.Phase", phase) }

// work waits for a duration. If the context ends before, it returns the cause.
func work(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
