// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	requestIDHeader = "X-Request-Id"
	// otherRoute is the route in the metrics of a request for no route.
	otherRoute = "other"
	// bodyPatience is how long a client may take to send its body, but for the streams of ndjson.go. It is how long a
	// connection lives whose body does not come.
	bodyPatience = 30 * time.Second
)

// legalRequestID is what is taken over of a caller's request id. It stands in logs.
var legalRequestID = regexp.MustCompile(`^[A-Za-z0-9_.:/+=-]{1,128}$`)

// newHandler returns the whole chain.
func (s *Server) newHandler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range s.routes() {
		mux.Handle(route.pattern, s.guard(route))
	}
	return s.observe(s.cors(s.unknown(mux)))
}

// observe gives the request its id, counts it, and answers a panic with a 500.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !legalRequestID.MatchString(id) {
			id = string(uuid.NewUUID())
		}
		w.Header().Set(requestIDHeader, id)
		if isClosed(s.draining.stopping) {
			w.Header().Set("Connection", "close")
		}
		s.setDeadlines(w, r)
		recorded, start, traced := &recorder{ResponseWriter: w}, s.Clock.Now(), &trace{id: id}
		r = r.WithContext(context.WithValue(r.Context(), traceKey, traced))
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		defer func() {
			cause, pattern := recover(), r.Pattern   // of the mux
			aborted := cause == http.ErrAbortHandler //nolint:errorlint // panics have the error itself
			if cause != nil && !aborted {
				err := s.panicked(id, pattern, cause)
				if recorded.code == 0 {
					s.writeError(recorded, err)
				}
			}
			s.metrics.observe(routeLabel(pattern), methodLabel(r.Method), recorded.code, s.Clock.Since(start))
			if log := s.Log.V(1); log.Enabled() {
				log.Info("Answered", "requestID", id, "method", r.Method, "route", pattern, "code", recorded.code)
			}
			s.audit(r, traced, routeLabel(pattern), recorded.code)
			if aborted { // The server closes the connection.
				panic(cause)
			}
		}()
		next.ServeHTTP(recorded, r)
	})
}

// setDeadlines bounds how long the body is awaited. net/http awaits one that no handler reads, too, before it sends the
// header of the answer. It drops the deadline itself when the body has come whole, so a wait after that may be long.
func (s *Server) setDeadlines(w http.ResponseWriter, r *http.Request) {
	controller := http.NewResponseController(w)  // a recorder of a test has no deadlines
	_ = controller.SetWriteDeadline(time.Time{}) // that of an earlier answer on this connection
	if r.ContentLength != 0 {
		_ = controller.SetReadDeadline(s.Clock.Now().Add(bodyPatience))
	}
}

// panicked logs a panic in a handler and returns a 500.
func (s *Server) panicked(id, route string, cause any) error {
	s.Log.Error(fmt.Errorf("%v", cause), "A handler panicked", "requestID", id, "route", route, "stack", string(debug.Stack()))
	return apierrors.NewInternalError(fmt.Errorf("request %s: see the log of the gateway", id))
}

// routeLabel returns the path of a pattern.
func routeLabel(pattern string) string {
	if _, path, found := strings.Cut(pattern, " "); found {
		return path
	}
	return otherRoute
}

// methodLabel keeps a client from making series of its own.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodPut, http.MethodPatch:
		return method
	default:
		return otherRoute
	}
}

// unknown answers requests for no route with a Status: 404, or 405 if the path has other methods.
func (s *Server) unknown(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		answer := &discarded{header: http.Header{}}
		refusal.ServeHTTP(answer, r)
		if answer.code == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", answer.header.Get("Allow"))
			s.writeError(w, failed(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "%s is not allowed here", r.Method))
			return
		}
		s.writeError(w, failed(http.StatusNotFound, metav1.StatusReasonNotFound, "there is no such route; /openapi.json has all"))
	})
}

// discarded keeps the code and the headers of an answer that is not sent.
type discarded struct {
	header http.Header
	code   int
}

func (d *discarded) Header() http.Header            { return d.header }
func (d *discarded) WriteHeader(code int)           { d.code = code }
func (d *discarded) Write(text []byte) (int, error) { return len(text), nil }

// guard calls the handler of a route once the request has passed all checks.
func (s *Server) guard(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.pass(route, w, r); err != nil {
			s.writeError(w, err)
		}
	})
}

// errStopping is the answer to a request if the gateway stops before it has sent anything for it.
var errStopping error = unavailable("the gateway is stopping, try again")

// pass makes the checks in the order of the package's comment.
func (s *Server) pass(route route, w http.ResponseWriter, r *http.Request) error {
	if route.public {
		return route.serve(w, r)
	}
	if isClosed(s.drained()) {
		return errStopping
	}
	if route.signed {
		return s.passSigned(route, w, r)
	}
	caller, err := s.authenticate(r)
	if err != nil {
		return err
	}
	traceOf(r.Context()).caller = caller
	leaveCaller, err := s.callers.enter("the caller", caller.GetName())
	if err != nil {
		return err
	}
	defer leaveCaller()
	r = r.WithContext(withUser(r.Context(), caller))
	if err := errors.Join(checkPath(r), checkQuery(r, route.query)); err != nil {
		return err
	}
	if route.needs != nil {
		if err := s.require(r.Context(), route.needs(r)...); err != nil {
			return err
		}
	}
	if namespace := namespaceOf(r); namespace != "" {
		leave, err := s.namespaces.enter("namespace "+namespace, namespace)
		if err != nil {
			return err
		}
		defer leave()
	}
	return route.serve(w, r)
}

// passSigned makes the checks that tell nothing about what the path names, because the caller is not known yet.
func (s *Server) passSigned(route route, w http.ResponseWriter, r *http.Request) error {
	if err := checkQuery(r, route.query); err != nil {
		return err
	}
	return route.serve(w, r)
}

// checkQuery returns a 400 for a parameter that the route does not have, for one that is there twice, and for a query that
// cannot be read: URL.Query drops what it cannot read, and a dry run would execute.
func checkQuery(r *http.Request, known []parameter) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("the query of the address cannot be read: %v", err)
	}
	for name, values := range query {
		if !slices.ContainsFunc(known, func(p parameter) bool { return p.name == name }) {
			return badRequest("this route has no parameter %q", name)
		}
		if len(values) > 1 && name != labelParameter.name {
			return badRequest("the parameter %s is there %d times", name, len(values))
		}
	}
	return nil
}

// checkPath returns a 404 for names that no object has. So nothing odd reaches the API server, or the memory of the
// authorizer.
func checkPath(r *http.Request) error {
	for _, segment := range []struct {
		path     string
		resource schema.GroupResource
		check    func(string) []string
	}{
		{pathNamespace, schema.GroupResource{Resource: "namespaces"}, validation.IsDNS1123Label},
		{pathJob, jobDefinitions.GroupResource(), validation.IsDNS1123Label},
		{pathRun, jobRuns.GroupResource(), validation.IsDNS1123Subdomain},
	} {
		if name := r.PathValue(segment.path); name != "" && len(segment.check(name)) > 0 {
			return apierrors.NewNotFound(segment.resource, name)
		}
	}
	return nil
}
