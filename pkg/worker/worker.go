// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
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

// Why the context of a handler ended, as context.Cause tells.
var (
	// ErrLeaseLost is that the run is not this worker's any more: its lease was
	// not renewed in time, or somebody ended it. Nothing that the handler
	// returns is written.
	ErrLeaseLost = jobrun.ErrLeaseLost
	// ErrCancelled is that the run was cancelled. The operator ends it; nothing
	// that the handler returns is written.
	ErrCancelled = jobrun.ErrCancelled
	// ErrShutdown is that the worker ends and its ShutdownGrace is over. A
	// handler that returns an error then gives its run back.
	ErrShutdown = errors.New("the worker is shutting down")
)

// ErrGiveBack is for a handler to return, wrapped or not, that cannot execute its
// run though another worker may: the run is given back. Unless the worker is told
// to end, it claims the run again.
var ErrGiveBack = errors.New("the run is given back")

// ErrIdentityTaken is that another process works under the same identity. The
// one that started last goes on.
var ErrIdentityTaken = errors.New("another process has taken this worker's identity")

// Options of a Worker. The zero value works, in the namespace "default".
type Options struct {
	// Namespace of the runs, and of the worker's Lease.
	Namespace string
	// Identity is the name of the worker's Lease, and the holder of what it
	// claims. It must be this process's alone. By default it is the name of the
	// host and a random suffix. A fixed one works if no two processes with it live
	// at once: what an earlier one left behind is given back.
	Identity string
	// Concurrency is how many runs are executed at once; 1 by default.
	Concurrency int
	// LeaseDuration is how long the lease of a run without leaseDurationSeconds
	// lives without renewal, in whole seconds; 30 seconds by default.
	LeaseDuration time.Duration
	// ShutdownGrace is how long handlers may go on once the worker was told to
	// end; 30 seconds by default, none if it is negative.
	ShutdownGrace time.Duration
	// StopGrace is how long handlers may then take to return once their context
	// is cancelled; 10 seconds by default.
	StopGrace time.Duration
	// Clock is for tests. Its Now should have a monotonic reading, as the real
	// one's has.
	Clock clock.Clock
	// Logger is slog.Default by default.
	Logger *slog.Logger
}

// Handler executes a run. What it returns is stored as the run's output, as JSON; an
// error, or a panic, fails the run, but for ErrGiveBack. It must return soon after its context is
// done: context.Cause says why it is.
type Handler func(ctx context.Context, run *Run) (output any, err error)

// Worker executes the runs of one namespace that have no template.
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
	// working counts what is in flight: claims, handlers, reports.
	working sync.WaitGroup
	// turns lets few reports be sent at a time, however many runs end at once: the
	// API server would refuse the renewals of the Lease among them.
	turns chan struct{}

	mu    sync.Mutex
	queue queue
	holds map[runID]*hold
	// reported is the generation of what this worker has ended, while it is seen.
	reported map[runID]int64
	stopping bool
}

// New makes a Worker on a client whose scheme knows v1alpha1 and
// coordination.k8s.io/v1. It must read from the API server and not from a cache.
func New(api client.WithWatch, o Options) *Worker {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.Identity == "" {
		o.Identity = NewIdentity()
	}
	if o.Concurrency < 1 {
		o.Concurrency = 1
	}
	if o.LeaseDuration <= 0 {
		o.LeaseDuration = v1alpha1.DefaultLeaseDurationSeconds * time.Second
	}
	if o.ShutdownGrace == 0 {
		o.ShutdownGrace = defaultGrace
	}
	if o.StopGrace <= 0 {
		o.StopGrace = defaultStop
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	w := &Worker{
		api: api, o: o, log: o.Logger.With("worker", o.Identity), clock: o.Clock,
		handlers: map[string]Handler{}, kick: make(chan struct{}, 1), fatal: make(chan error, 1),
		turns: make(chan struct{}, reportsInFlight), queue: newQueue(), holds: map[runID]*hold{}, reported: map[runID]int64{},
	}
	w.lease = newLease(w)
	return w
}

// NewForConfig makes a Worker with a connection of its own, which is not
// throttled unless the config says so.
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

// Handle says how the runs of a job are executed. It is called before Run.
func (w *Worker) Handle(jobName string, h Handler) *Worker {
	w.handlers[jobName] = h
	return w
}

// Identity is the holder of what the worker claims.
func (w *Worker) Identity() string { return w.o.Identity }

// Run works until the context is done, and then ends in good order: it claims
// nothing more, waits ShutdownGrace for the handlers, cancels the contexts of
// the others and gives their runs back. It returns nil then. It is called once.
//
// Errors: the options are not valid, the API server refused the first request
// for good, ErrIdentityTaken, or a handler did not return; its run goes to
// another worker when its lease expires.
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

// begin makes the worker's Lease its own, and reports whether it is.
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

// claimUntil claims what can be claimed until the context is done.
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

// sleep waits for something to happen. The error is fatal.
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

// nextLocked takes what to claim now, or says how long there is nothing.
func (w *Worker) nextLocked() (*v1alpha1.JobRun, time.Duration) {
	run, wait := w.queue.next(w.clock.Now())
	if len(w.holds)+len(w.queue.claiming) >= w.o.Concurrency {
		return nil, never
	}
	if run == nil {
		return nil, wait
	}
	w.queue.claiming[idOf(run)] = true
	return run, 0
}

func (w *Worker) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// die ends the worker with an error.
func (w *Worker) die(err error) {
	select {
	case w.fatal <- err:
	default:
	}
}

// shutDown ends what is in flight, and returns how many handlers would not. At
// once means that nothing is held any more.
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

// wait reports whether done came first.
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

// NewIdentity is the name of this host with a random suffix.
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
