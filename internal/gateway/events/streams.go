// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Options are the bounds of streams. Each is at least 1.
type Options struct {
	// PerCaller is how many streams a caller may have open, and Total how many all callers may have.
	PerCaller, Total int
	// HistoryBytes is about how much memory the history takes.
	HistoryBytes int
}

// DefaultOptions are the bounds of a gateway that is not told otherwise.
var DefaultOptions = Options{PerCaller: 100, Total: 4096, HistoryBytes: 16 << 20}

// Caller is who opens a stream.
type Caller struct {
	// Name identifies the caller for Options.PerCaller.
	Name string
	// Allowed asks whether the caller may still watch the JobRuns of the stream's namespace. The answer no is a 401 or a 403,
	// as the API server's errors are.
	Allowed func(context.Context) error
}

const (
	// syncTimeout is how long a request waits for the first list of JobRuns.
	syncTimeout = 5 * time.Second
	// minRetry and maxRetry bound after which time clients are told to come back, so that those of a gateway that ends do not
	// come all at once.
	minRetry, maxRetry = 500 * time.Millisecond, 3 * time.Second
)

// Streams serves the events of a Hub.
type Streams struct {
	log     logr.Logger
	clock   clock.WithTicker
	api     client.Client
	hub     *Hub
	past    *past
	limit   limit
	metrics metrics

	drain    sync.Once
	draining chan struct{}
}

// NewStreams returns the streams of a Hub. api must not read from a cache. Its rights are those of the gateway.
func NewStreams(log logr.Logger, clock clock.WithTicker, api client.Client, hub *Hub, options Options) *Streams {
	return &Streams{
		log: log, clock: clock, api: api, hub: hub,
		past:     newPast(api),
		limit:    limit{perCaller: options.PerCaller, total: options.Total},
		metrics:  newMetrics(),
		draining: make(chan struct{}),
	}
}

// Follow keeps the streams up to date until ctx ends.
func (s *Streams) Follow(ctx context.Context, jobRuns toolscache.ListerWatcher) {
	s.hub.Follow(ctx, jobRuns)
}

// Synced is closed once the JobRuns have been read. Streams wait for that for a while.
func (s *Streams) Synced() <-chan struct{} { return s.hub.synced }

// Drain ends all streams, whose clients then come back to another gateway, and refuses new ones.
func (s *Streams) Drain() { s.drain.Do(func() { close(s.draining) }) }

// Serve answers a request for the events of a namespace. It returns an error, as the API server's are, if it has not
// answered: 400 for a wrong query, 404 if the run does not exist, 429 beyond the bounds, 503 while the gateway starts or ends.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, namespace string, caller Caller) error {
	asked, err := parse(r)
	if err != nil {
		return err
	}
	asked.caller = caller.Name
	if err := s.ready(r.Context()); err != nil {
		return err
	}
	leave, err := s.Enter(caller.Name)
	if err != nil {
		return err
	}
	defer leave()
	reader, at := s.hub.open(namespace, asked.selection)
	defer reader.close()
	begin, err := s.begin(r.Context(), reader, asked, at)
	if err != nil {
		return err
	}
	if begin.over {
		w.WriteHeader(http.StatusNoContent) // An EventSource comes back after each end but this one.
		return nil
	}
	stream := &stream{
		streams: s, reader: reader, access: Access{Allowed: caller.Allowed}, run: asked.run,
		out: &writer{w: w, control: http.NewResponseController(w), clock: s.clock},
	}
	s.ended(stream.serve(r.Context(), begin), namespace, caller)
	return nil
}

// Enter counts a stream of a caller, until leave is called once. Its error is a 429 beyond the bounds. Serve calls it itself.
func (s *Streams) Enter(caller string) (leave func(), err error) {
	counted, err := s.limit.enter(caller)
	if err != nil {
		return nil, err
	}
	s.metrics.open.Inc()
	return func() {
		s.metrics.open.Dec()
		counted()
	}, nil
}

// ready waits until the Hub has read the JobRuns.
func (s *Streams) ready(ctx context.Context) error {
	select {
	case <-s.draining:
		return unavailable("the gateway is shutting down")
	default:
	}
	timeout := s.clock.NewTimer(syncTimeout)
	defer timeout.Stop()
	select {
	case <-s.hub.synced:
		return nil
	case <-timeout.C():
	case <-ctx.Done():
	case <-s.draining:
	}
	return unavailable("the gateway has not read the JobRuns yet")
}

func unavailable(message string) error {
	err := apierrors.NewServiceUnavailable(message)
	err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return err
}

// ended logs and counts the end of a stream that was cut. Other ends are usual.
func (s *Streams) ended(err error, namespace string, caller Caller) {
	reason := ""
	switch {
	case errors.Is(err, errSlow):
		reason = cutSlow
	case errors.Is(err, errRefused):
		reason = cutRefused
	case errors.Is(err, errRestored):
		reason = cutRestored
	default:
		return
	}
	s.metrics.cut.WithLabelValues(reason).Inc()
	s.log.Info("Cut a stream of events", "namespace", namespace, "caller", caller.Name, "reason", err.Error())
}

// retry returns a time in milliseconds after which a client may come back.
func retry() string {
	wait := minRetry + rand.N(maxRetry-minRetry) //nolint:gosec // G404: no secret
	return strconv.FormatInt(wait.Milliseconds(), 10)
}
