// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package health serves /healthz and /readyz, with the reason of each check that fails.
//
// controller-runtime's handler withholds the reasons. A person who finds that nothing starts needs them.
package health

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// Check is one check of a replica.
type Check struct {
	// Name is unique among the checks of a Handler.
	Name string
	// Run returns why the check fails, or nil.
	Run healthz.Checker
}

// Handler answers a path, and below it each check by its name. The answer is 200 if all checks pass, and 500 otherwise, with one
// line for each check. ?verbose asks for the lines in any case. ?exclude=NAME, any number of times, lets the code be that of the
// other checks.
//
// It logs when a check begins to fail, and when it passes again.
type Handler struct {
	path   string
	log    logr.Logger
	checks []Check

	mu      sync.Mutex
	failing map[string]bool
}

// NewHandler returns the handler of a path, for example /readyz.
func NewHandler(path string, log logr.Logger, checks ...Check) *Handler {
	return &Handler{path: path, log: log, checks: checks, failing: map[string]bool{}}
}

// Register adds the handler to a mux.
func (h *Handler) Register(mux *http.ServeMux) {
	mux.Handle(h.path, h)
	mux.HandleFunc(h.path+"/{name}", h.serveOne)
}

// ServeHTTP answers for all checks.
func (h *Handler) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	var lines strings.Builder
	ready := true
	for _, check := range h.checks {
		excluded := slices.Contains(query["exclude"], check.Name)
		err := h.run(check, request)
		ready = ready && (err == nil || excluded)
		lines.WriteString(line(check.Name, err, excluded))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case !ready:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s%s check failed\n", lines.String(), strings.TrimPrefix(h.path, "/"))
	case query.Has("verbose"):
		fmt.Fprintf(w, "%s%s check passed\n", lines.String(), strings.TrimPrefix(h.path, "/"))
	default:
		fmt.Fprint(w, "ok")
	}
}

func line(name string, err error, excluded bool) string {
	what := name
	if excluded {
		what += " (excluded)"
	}
	if err != nil {
		return fmt.Sprintf("[-]%s failed: %v\n", what, err)
	}
	return fmt.Sprintf("[+]%s ok\n", what)
}

func (h *Handler) serveOne(w http.ResponseWriter, request *http.Request) {
	i := slices.IndexFunc(h.checks, func(c Check) bool { return c.Name == request.PathValue("name") })
	if i < 0 {
		http.NotFound(w, request)
		return
	}
	if err := h.run(h.checks[i], request); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, "ok")
}

// run runs a check, and logs if its result differs from the last one.
func (h *Handler) run(check Check, request *http.Request) error {
	err := check.Run(request)
	h.mu.Lock()
	defer h.mu.Unlock()
	if failing := err != nil; failing != h.failing[check.Name] {
		h.failing[check.Name] = failing
		if failing {
			h.log.Info("A check fails", "path", h.path, "check", check.Name, "reason", err.Error())
		} else {
			h.log.Info("A check passes again", "path", h.path, "check", check.Name)
		}
	}
	return err
}
