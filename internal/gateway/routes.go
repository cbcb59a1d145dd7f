// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
)

// route is one line of the routing table.
type route struct {
	// pattern is the method and the path, as net/http.ServeMux has them. It is the label of the route's metrics, without the
	// method.
	pattern string
	// serve answers. It returns an error, or writes the answer.
	serve func(http.ResponseWriter, *http.Request) error
	// needs returns the rights that the path tells. They are checked before serve is called. It is nil if a caller needs to be
	// known, but needs no right.
	needs func(*http.Request) []right
	// query are the parameters of the query. Others are refused with a 400, because a misspelt one would have no effect.
	query []parameter
	// public means that the route is for everybody, without a token.
	public bool
	// signed means that a signature lets the caller in, which serve checks, and not a token.
	signed bool
}

// parameter is one parameter of the query.
type parameter struct{ name, doc string }

var (
	waitParameter   = parameter{"wait", "Answer when the run has ended, or after this time: a duration such as 30s, at most 300s. It needs the right to get the JobRuns of the namespace."}
	dryRunParameter = parameter{"dryRun", "All: store nothing, and answer what the trigger would become now."}
	jobParameter    = parameter{"jobName", "Only those of this job."}
	page            = []parameter{
		{"limit", "The most items of one page, 1 to 500. The default is 100."},
		{"continue", "The field continue of the page before."},
	}
	labelParameter = parameter{"label", "Only events of runs, or of absorbed triggers, that this label selector matches. There may be several: all must match."}
	eventFilter    = []parameter{jobParameter, labelParameter, {"run", "Only events of this JobRun, or of the run that stands for it: from its state to its end."}}
	logFilter      = []parameter{
		{"follow", "true: go on until the container ends."},
		{"tailLines", "Only this many lines from the end."},
		{"sinceSeconds", "Only what is at most this many seconds old, at least 1."},
		{"previous", "true: the log of the container before it was restarted in its Pod."},
		{"container", "The container. The default is the Pod's default container, or its first one."},
		{"timestamps", "true: a time before each line."},
	}
	runFilter = append([]parameter{
		jobParameter,
		{"phase", "Only JobRuns in this phase, such as Completed. Empty: those that have none yet."},
		{"key", "Only JobRuns with this concurrencyKey."},
		{"labels", "Only JobRuns that this label selector matches."},
	}, page...)
)

// routes returns the routing table.
func (s *Server) routes() []route {
	const namespaced = "/v1/namespaces/{ns}"
	return []route{
		{pattern: "POST " + namespaced + "/jobs/{job}/runs", serve: s.trigger, needs: needsTrigger, query: []parameter{waitParameter, dryRunParameter}},
		{pattern: "POST " + namespaced + "/batches", serve: s.batch, needs: needsBatch},
		{pattern: "GET " + namespaced + "/runs", serve: s.listRuns, needs: inNamespace("list", jobRuns), query: runFilter},
		{pattern: "GET /v1/runs", serve: s.listRuns, needs: inNamespace("list", jobRuns), query: runFilter},
		{pattern: "GET " + namespaced + "/runs/{run}", serve: s.getRun, needs: onRun("get")},
		{pattern: "DELETE " + namespaced + "/runs/{run}", serve: s.deleteRun, needs: onRun("delete")},
		{pattern: "POST " + namespaced + "/runs/{run}/cancel", serve: s.cancelRun, needs: onRun("update")},
		{pattern: "POST " + namespaced + "/runs/{run}/retrigger", serve: s.retriggerRun, needs: onRun("get"), query: []parameter{waitParameter}},
		{pattern: "GET " + namespaced + "/runs/{run}/logs", serve: s.logs, needs: needsLogs, query: logFilter},
		{pattern: "GET " + namespaced + "/keys", serve: s.listKeys, needs: inNamespace("list", runKeys), query: append([]parameter{jobParameter}, page...)},
		{pattern: "GET " + namespaced + "/definitions", serve: s.listDefinitions, needs: inNamespace("list", jobDefinitions), query: page},
		{pattern: "GET " + namespaced + "/definitions/{job}", serve: s.getDefinition, needs: toGetDefinition},
		{pattern: "GET /v1/namespaces", serve: s.listNamespaces, query: page},
		{pattern: "GET /v1/whoami", serve: s.whoami},
		{pattern: "GET " + namespaced + "/events", serve: s.events, needs: needsEvents, query: eventFilter},
		{pattern: "POST /v1/hooks/{ns}/{definition}/{receiver}", serve: s.receive, signed: true},
		{pattern: "GET /openapi.json", serve: s.openAPI, public: true},
		{pattern: "GET /healthz", serve: healthz, public: true},
		{pattern: "GET /readyz", serve: s.readyz, public: true},
	}
}

// The names of the wildcards in the patterns.
const (
	pathNamespace  = "ns"
	pathJob        = "job"
	pathRun        = "run"
	pathDefinition = "definition"
	pathReceiver   = "receiver"
)

// namespaceOf returns the namespace of the path, or "" if the path has none.
func namespaceOf(r *http.Request) string { return r.PathValue(pathNamespace) }
