// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const (
	defaultGrace = 30 * time.Second
	defaultStop  = 10 * time.Second
	// reportsInFlight is how many reports a worker sends at once.
	reportsInFlight = 16
)

// The causes with which the context of a handler ends, for context.Cause.
var (
	// ErrLeaseLost means that this worker no longer holds the run: the lease was not renewed in time, or the run was
	// ended. Nothing that the handler returns is written.
	ErrLeaseLost = jobrun.ErrLeaseLost
	// ErrCancelled means that the run was cancelled. The operator ends it. Nothing that the handler returns is written.
	ErrCancelled = jobrun.ErrCancelled
	// ErrShutdown means that the worker shuts down and that ShutdownGrace is over. If the handler then returns an error,
	// its run is given back.
	ErrShutdown = errors.New("the worker is shutting down")
)

// ErrGiveBack makes the worker give the run back when a handler returns it, wrapped or not. It is for a run that another
// worker may be able to execute. After a pause this worker claims the run again, unless it shuts down.
var ErrGiveBack = errors.New("the run is given back")

// ErrIdentityTaken means that another process works under the same identity. The process that started last goes on.
var ErrIdentityTaken = errors.New("another process has taken this worker's identity")

// Options are the options of a Worker. The zero value is valid.
type Options struct {
	// Namespace is the namespace of the runs and of the worker's Lease. The default is "default".
	Namespace string
	// Identity is the name of the worker's Lease, and the holderIdentity of its leases. It is a DNS-1123 subdomain, and no
	// two processes may use it at the same time. The default is NewIdentity. With a fixed identity, a worker gives back
	// the runs that an earlier process of that identity left behind.
	Identity string
	// Concurrency is how many runs the worker executes at once. The default is 1.
	Concurrency int
	// LeaseDuration is how long the lease of a run without leaseDurationSeconds lives without renewal, in whole seconds.
	// The default is 30 seconds.
	LeaseDuration time.Duration
	// ShutdownGrace is how long handlers may go on after the context of Run is done. The default is 30 seconds. A
	// negative value means not at all.
	ShutdownGrace time.Duration
	// StopGrace is how long handlers may then take to return after their contexts are cancelled. The default is 10
	// seconds.
	StopGrace time.Duration
	// Clock is for tests. Its Now should have a monotonic reading, as the real clock's has.
	Clock clock.Clock
	// Logger is the logger. The default is slog.Default.
	Logger *slog.Logger
}

// Handler executes a run. Its output is stored as the run's output, in JSON; nil stores none. An error other than
// ErrGiveBack fails the run, and so does a panic. A handler must return soon after its context is done; context.Cause
// returns the cause.
type Handler func(ctx context.Context, run *Run) (output any, err error)

// Worker executes the runs of one namespace that have no template and for whose job it has a Handler.
type Worker struct {
	api      client.WithWatch
	o        Options
	log      *slog.Logger
	clock    clock.Clock
	handlers map[string]Handler
	lease    *lease

	// kick wakes the loop that claims.
	kick  chan struct{}
	fatal chan error
	// working counts the claims, handlers and reports in flight.
	working sync.WaitGroup
	// turns bounds the reports that are sent at once, however many runs end. Among too many reports the API server would
	// refuse the renewals of the Lease.
	turns chan struct{}

	mu    sync.Mutex
	queue queue
	holds map[runID]*hold
	// reported has, for each run that is still seen, the last generation that this worker has ended.
	reported map[runID]int64
	stopping bool
}

// New returns a Worker that uses api. The scheme of api must have v1alpha1 and coordination.k8s.io/v1, and api must read
// from the API server and not from a cache.
func New(api client.WithWatch, o Options) *Worker {
	o.Namespace = cmp.Or(o.Namespace, "default")
	o.Identity = cmp.Or(o.Identity, NewIdentity())
	o.Concurrency = max(o.Concurrency, 1)
	o.LeaseDuration = cmp.Or(max(o.LeaseDuration, 0), v1alpha1.DefaultLeaseDurationSeconds*time.Second)
	o.ShutdownGrace = cmp.Or(o.ShutdownGrace, defaultGrace)
	o.StopGrace = cmp.Or(max(o.StopGrace, 0), defaultStop)
	o.Clock = cmp.Or[clock.Clock](o.Clock, clock.RealClock{})
	o.Logger = cmp.Or(o.Logger, slog.Default())
	w := &Worker{
		api: api, o: o, log: o.Logger.With("worker", o.Identity), clock: o.Clock,
		handlers: map[string]Handler{}, kick: make(chan struct{}, 1), fatal: make(chan error, 1),
		turns: make(chan struct{}, reportsInFlight), queue: newQueue(), holds: map[runID]*hold{}, reported: map[runID]int64{},
	}
	w.lease = newLease(w)
	return w
}

// NewForConfig returns a Worker with its own connection. Requests are not throttled unless the config sets QPS.
func NewForConfig(config *rest.Config, o Options) (*Worker, error) {
	config = rest.CopyConfig(config)
	if config.QPS == 0 {
		config.QPS = -1
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("JobRun"), meta.RESTScopeNamespace)
	mapper.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return New(api, o), nil
}

// Handle sets the handler for the runs of a job, and returns the Worker. Call it before Run.
func (w *Worker) Handle(jobName string, h Handler) *Worker {
	w.handlers[jobName] = h
	return w
}

// Identity returns the worker's identity. See Options.
func (w *Worker) Identity() string { return w.o.Identity }

// Run executes runs until ctx is done. Then it claims nothing more, waits ShutdownGrace for the handlers, cancels the
// contexts of the handlers that are left, gives their runs back, and returns nil. Call it once.
//
// Errors:
//   - the options are not valid, or there is no handler;
//   - the API server refused the first request for good;
//   - ErrIdentityTaken;
//   - a handler did not return within StopGrace. Its run goes to another worker when its lease expires.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.validate(); err != nil {
		return err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var loops sync.WaitGroup
	defer loops.Wait()
	defer stop()
	loops.Go(func() {
		if !w.begin(background) {
			return
		}
		for job := range w.handlers {
			loops.Go(func() { w.follow(background, job) })
		}
	})
	loops.Go(func() { w.lease.keep(background) })

	failed := w.claimUntil(ctx, background)
	stuck := w.shutDown(failed != nil)
	if stuck > 0 {
		return errors.Join(failed, fmt.Errorf("%d handlers did not return", stuck))
	}
	w.lease.remove(background)
	return failed
}

// begin acquires the worker's Lease. It reports whether that succeeded.
func (w *Worker) begin(ctx context.Context) bool {
	backoff := holder.NewBackoff()
	for {
		err := w.lease.acquire(ctx)
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		if holder.RefusedForGood(err) {
			w.die(fmt.Errorf("make Lease %s: %w", w.o.Identity, err))
			return false
		}
		w.log.Warn("Cannot make the worker's Lease, will try again", "error", err)
		w.pause(ctx, backoff.Step())
	}
}

func (w *Worker) validate() error {
	if len(w.handlers) == 0 {
		return errors.New("the worker handles no job")
	}
	if problems := validation.IsDNS1123Subdomain(w.o.Identity); len(problems) > 0 {
		return fmt.Errorf("identity %q: %s", w.o.Identity, strings.Join(problems, ", "))
	}
	return nil
}

// claimUntil claims and executes runs until ctx is done or the worker dies.
func (w *Worker) claimUntil(ctx, background context.Context) error {
	for {
		w.mu.Lock()
		run, wait := w.nextLocked()
		w.mu.Unlock()
		if run != nil {
			w.working.Go(func() { w.claimAndExecute(background, run) })
			continue
		}
		if err := w.sleep(ctx, wait); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// sleep waits until something changes. An error ends the worker.
func (w *Worker) sleep(ctx context.Context, wait time.Duration) error {
	timer := w.clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.fatal:
		return err
	case <-w.kick:
	case <-timer.C():
	}
	return nil
}

// nextLocked returns the run to claim now or, if there is none, how long to wait.
func (w *Worker) nextLocked() (*v1alpha1.JobRun, time.Duration) {
	run, wait := w.queue.next(w.clock.Now())
	if len(w.holds)+len(w.queue.claiming) >= w.o.Concurrency {
		return nil, idleRecheck
	}
	if run == nil {
		return nil, wait
	}
	w.queue.claiming[idOf(run)] = true
	return run, 0
}

func (w *Worker) wake() { offer(w.kick, struct{}{}) }

// die ends the worker with an error.
func (w *Worker) die(err error) { offer(w.fatal, err) }

// offer sends value unless the channel is full.
func offer[T any](to chan<- T, value T) {
	select {
	case to <- value:
	default:
	}
}

// shutDown ends everything in flight, and returns how many handlers did not return. atOnce means that the worker no longer
// holds any lease: it does not wait for ShutdownGrace.
func (w *Worker) shutDown(atOnce bool) (stuck int) {
	w.mu.Lock()
	w.stopping = true
	w.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.working.Wait()
	}()
	if !atOnce && w.wait(ended, w.o.ShutdownGrace) {
		return 0
	}
	for _, h := range w.held() {
		if atOnce {
			h.lose(ErrLeaseLost)
		}
		h.stop(ErrShutdown)
	}
	if w.wait(ended, w.o.StopGrace) {
		return 0
	}
	return len(w.held())
}

// wait waits for done, at most for the given time. It reports whether done came first.
func (w *Worker) wait(done <-chan struct{}, atMost time.Duration) bool {
	timer := w.clock.NewTimer(max(atMost, 0))
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C():
		return false
	}
}

func (w *Worker) held() []*hold {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*hold, 0, len(w.holds))
	for _, h := range w.holds {
		all = append(all, h)
	}
	return all
}

// NewIdentity returns the name of this host with a random suffix.
func NewIdentity() string {
	host, err := os.Hostname()
	host = strings.ToLower(host)
	if err != nil || len(validation.IsDNS1123Subdomain(host)) > 0 || len(host) > 200 {
		host = "worker"
	}
	return host + "-" + randomSuffix()
}

func randomSuffix() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
