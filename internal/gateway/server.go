// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/internal/gateway/group"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Options are the parts of a Server. All are required unless they say otherwise.
type Options struct {
	// API reads and writes with the gateway's own user. It must not read from a cache.
	API client.WithWatch
	// Authenticator tells who a caller is.
	Authenticator authenticator.Request
	// Authorizer tells what a caller may do.
	Authorizer authorizer.Authorizer
	// CallerInFlight and NamespaceInFlight bound the requests in flight of one caller and for one namespace.
	CallerInFlight, NamespaceInFlight int
	// Streams bounds the streams of events and of logs.
	Streams events.Options
	// OpenLog reads the logs of runs. If it is nil, the gateway reads no logs.
	OpenLog LogOpener
	// Receivers has the receivers and their secrets. If it is nil, the gateway takes no deliveries.
	Receivers *Receivers
	// AllowedOrigins are the origins whose pages may call the gateway, for example https://jobs.example.com, or "*" for all. If
	// it is empty, no page of another origin may.
	AllowedOrigins []string
	// Metrics registers the metrics.
	Metrics prometheus.Registerer
	Clock   clock.WithTicker
	Log     logr.Logger
	// Audit has a line for each request that does more than read, with its caller. It should leave no line out.
	Audit logr.Logger
}

// Server answers the gateway's requests. It is safe for concurrent use.
type Server struct {
	Options

	started             time.Time
	callers, namespaces *inFlight
	// namespaceLists bounds the lists of namespaces of one caller, allNamespaceLists those of all.
	namespaceLists, allNamespaceLists *inFlight
	// rights has those that callers were found to have a moment ago.
	rights knownRights
	// questions shares the questions about rights that are asked at once, asking bounds those of one caller.
	questions singleflight.Group
	asking    *inFlight
	metrics   *metrics
	draining  *draining
	streams   *events.Streams
	groups    *group.Groups
	// sharing is API, but that the waits for single JobRuns share one watch. waits bounds the waits of all callers.
	sharing client.WithWatch
	waits   *inFlight
	// compiled has compiled JobDefinitions.
	compiled *lru.Cache
	// bodies bounds the bytes of bodies in memory.
	bodies *bytesHeld
	// deliveries bounds the deliveries of all receivers, receiverDeliveries those of one, deliveryBytes their bodies, and decoding what
	// decoded bodies take.
	deliveries, receiverDeliveries *inFlight
	deliveryBytes                  *bytesHeld
	decoding                       *semaphore.Weighted
	// compiledReceivers has compiled receivers.
	compiledReceivers *lru.Cache
	// readers bounds the lists and reads of one caller, reads the bytes that those of all take, answers the bytes of answers that
	// are being written.
	readers *inFlight
	reads   *semaphore.Weighted
	answers *bytesHeld
	// document returns the OpenAPI document. The first call makes it.
	document func() ([]byte, error)
	handler  http.Handler
}

// NewServer returns a Server.
func NewServer(o Options) *Server {
	s := &Server{
		Options:    o,
		started:    o.Clock.Now(),
		callers:    newInFlight(o.CallerInFlight),
		namespaces: newInFlight(o.NamespaceInFlight),

		namespaceLists:    newInFlight(1),
		allNamespaceLists: newInFlight(namespacesInFlight),
		rights:            newKnownRights(o.Clock),
		asking:            newInFlight(rightsInFlight),
		metrics:           newMetrics(o.Metrics),
		draining:          newDraining(),
		streams:           newStreams(o),
		bodies:            newBytesHeld(callerBodiesBytes, maxBodiesBytes),
		compiled:          lru.New(maxCompiled),
	}
	s.sharing, s.waits = s.streams.SharedWatches(o.API), newInFlight(maxWaits)
	s.readers, s.reads = newInFlight(callerReads), semaphore.NewWeighted(maxReadBytes)
	s.answers = newBytesHeld(callerAnswerBytes, maxAnswerBytes)
	s.deliveries, s.receiverDeliveries = newInFlight(maxDeliveries), newInFlight(min(receiverDeliveries, o.CallerInFlight))
	s.deliveryBytes, s.decoding = newBytesHeld(receiverBytes, maxDeliveriesBytes), semaphore.NewWeighted(maxDecodedBytes)
	s.compiledReceivers = lru.New(maxCompiledReceivers)
	s.groups = s.newGroups()
	s.document = sync.OnceValues(func() ([]byte, error) { return newDocument(s.routes()) })
	s.handler = s.newHandler()
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// runs returns the client of the JobRuns in the namespace of the path, or in all namespaces if the path has none.
func (s *Server) runs(r *http.Request) *jobrun.Client { return jobrun.New(s.API, namespaceOf(r)) }
