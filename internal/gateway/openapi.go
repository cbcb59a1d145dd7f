// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/events"
)

// operation describes a route for the OpenAPI document.
type operation struct {
	// id is the name of the operation in a generated client.
	id, summary string
	// body is a value of the type of the body, or nil.
	body any
	// lines is a value of the type of one line of an ndjson body, or nil.
	lines any
	// answers has a value of the type of the answer for each code of success.
	answers map[int]any
	// events is a value of the type of the data of an event, if the answer is a stream of server-sent events, or nil.
	events any
	// anyBody is true if the body may be any JSON.
	anyBody bool
	// text is true if the answer is plain text.
	text bool
	// codes are the codes of a Status that only this route has, besides its commonCodes.
	codes []int
}

// commonCodes are the codes of a Status that a route may answer because it is a route with a caller, with rights, or with
// names in its path. A test of the suite gets each code that the document has.
func commonCodes(route route) []int {
	if route.public {
		return nil
	}
	codes := []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusServiceUnavailable,
	}
	if route.needs != nil {
		codes = append(codes, http.StatusForbidden)
	}
	if strings.Contains(route.pattern, "{") && !route.signed {
		codes = append(codes, http.StatusNotFound)
	}
	return codes
}

// listCodes are those of a list, bodyCodes those of a route with a body, writeCodes those of a trigger.
var (
	listCodes  = []int{http.StatusGone}
	bodyCodes  = []int{http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
	writeCodes = append([]int{http.StatusConflict, http.StatusUnprocessableEntity, http.StatusGatewayTimeout}, bodyCodes...)
)

// oneOf has values of the types that an answer may have.
type oneOf []any

// ok is the answer of a route that has only one.
func ok(value any) map[int]any { return map[int]any{http.StatusOK: value} }

// operations has the description of each pattern of the routing table.
func operations() map[string]operation {
	const namespaced = "/v1/namespaces/{ns}"
	triggered := map[int]any{http.StatusCreated: TriggerAnswer{}, http.StatusOK: TriggerAnswer{}}
	return map[string]operation{
		"POST " + namespaced + "/jobs/{job}/runs": {
			id: "trigger", summary: "Trigger a run of a job. 201: the trigger is a run. 200: another run stands for it.",
			body: TriggerRequest{}, answers: triggered, codes: writeCodes,
		},
		"POST " + namespaced + "/batches": {
			id: "triggerBatch", summary: "Trigger many runs: all or nothing with a JSON body, each alone with a body of lines (application/x-ndjson).",
			body: BatchRequest{}, lines: BatchItem{}, codes: writeCodes,
			answers: map[int]any{http.StatusCreated: BatchAnswer{}, http.StatusOK: BatchAnswer{}},
		},
		"GET " + namespaced + "/runs": {
			id: "listRuns", summary: "List the runs and receipts of a namespace.",
			answers: ok(v1alpha1.JobRunList{}), codes: listCodes,
		},
		"GET /v1/runs": {
			id: "listAllRuns", summary: "List the runs and receipts of all namespaces.",
			answers: ok(v1alpha1.JobRunList{}), codes: listCodes,
		},
		"GET " + namespaced + "/runs/{run}": {id: "getRun", summary: "Read a run or a receipt.", answers: ok(v1alpha1.JobRun{})},
		"DELETE " + namespaced + "/runs/{run}": {
			id: "deleteRun", summary: "Delete a run or a receipt. A run without an outcome is cancelled.",
			answers: ok(metav1.Status{}), codes: []int{http.StatusConflict},
		},
		"POST " + namespaced + "/runs/{run}/cancel": {
			id: "cancelRun", summary: "Ask a run to end without a result.", answers: ok(metav1.Status{}),
			codes: append([]int{http.StatusConflict, http.StatusUnprocessableEntity}, bodyCodes...),
		},
		"POST " + namespaced + "/runs/{run}/retrigger": {
			id: "retriggerRun", summary: "Trigger the same work again.", answers: triggered, codes: writeCodes,
		},
		"GET " + namespaced + "/runs/{run}/logs": {
			id: "readLogs", answers: ok(""), text: true, codes: []int{http.StatusConflict},
			summary: "Read or follow the log of the run's current Pod. 409: there is none yet. 404: there will be none, or the gateway reads no logs.",
		},
		"GET " + namespaced + "/events": {
			id: "streamEvents", events: events.Data{}, answers: map[int]any{http.StatusOK: "", http.StatusNoContent: nil},
			summary: "Follow what happens to runs. Last-Event-ID goes on after an earlier stream. 204: that had everything of its run.",
		},
		"GET " + namespaced + "/keys": {
			id: "listKeys", summary: "List the busy keys: who waits and who executes.", answers: ok(KeyList{}), codes: listCodes,
		},
		"GET " + namespaced + "/definitions": {
			id: "listDefinitions", summary: "List what can be triggered.", answers: ok(v1alpha1.JobDefinitionList{}), codes: listCodes,
		},
		"GET " + namespaced + "/definitions/{job}": {
			id: "getDefinition", summary: "Read the definition of a job.", answers: ok(v1alpha1.JobDefinition{}),
		},
		"GET /v1/namespaces": {
			id: "listNamespaces", summary: "List the namespaces whose runs the caller may list.",
			answers: ok(NamespaceList{}), codes: listCodes,
		},
		"GET /v1/whoami": {id: "whoAmI", summary: "Tell who the caller is.", answers: ok(WhoAmI{})},
		"POST /v1/hooks/{ns}/{definition}/{receiver}": {
			id: "deliver", answers: map[int]any{http.StatusCreated: TriggerAnswer{}, http.StatusOK: oneOf{TriggerAnswer{}, Ignored{}}}, anyBody: true,
			summary: "Trigger a run by a signed delivery to a receiver of a JobDefinition. 201: it is a run. 200: another run stands for it, or it is ignored. " +
				"404: the gateway takes no deliveries.",
			codes: []int{
				http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity,
				http.StatusGatewayTimeout,
			},
		},
		"GET /openapi.json": {id: "openAPI", summary: "Read this document.", answers: ok(nil)},
		"GET /healthz":      {id: "healthz", summary: "Tell that the gateway serves.", answers: ok(""), text: true},
		"GET /readyz": {
			id: "readyz", summary: "Tell whether the gateway takes requests.", answers: ok(""), text: true,
			codes: []int{http.StatusServiceUnavailable},
		},
	}
}

// openAPI answers the OpenAPI document.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	text, err := s.document()
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, text)
	return nil
}

// OpenAPI returns the OpenAPI document that a gateway serves, as JSON.
func OpenAPI() ([]byte, error) { return newDocument((&Server{}).routes()) }

// newDocument makes the OpenAPI document of routes.
func newDocument(routes []route) ([]byte, error) {
	schemas, err := newSchemas()
	if err != nil {
		return nil, err
	}
	described, paths := operations(), object{}
	for _, route := range routes {
		operation, ok := described[route.pattern]
		if !ok {
			return nil, fmt.Errorf("the route %s has no operation", route.pattern)
		}
		method, path, _ := strings.Cut(route.pattern, " ")
		methods, _ := paths[path].(object)
		if methods == nil {
			methods = object{}
			paths[path] = methods
		}
		methods[strings.ToLower(method)] = schemas.operation(route, operation)
	}
	schemas.of(reflect.TypeFor[LineAnswer]())
	text, err := json.Marshal(object{
		"openapi": "3.0.3",
		"info": object{
			"title": "JobRun gateway", "version": v1alpha1.GroupVersion.Version,
			"description": "Trigger, read and follow runs. Errors are Kubernetes Status objects with the code of the answer.",
		},
		"paths": paths,
		"components": object{
			"schemas":         schemas.components,
			"securitySchemes": securitySchemes(),
		},
	})
	return text, errors.Join(append(schemas.errs, err)...)
}

// signatures are the headers of which one lets a delivery in, by the name of their scheme.
var signatures = map[string]string{
	"hubSignature": "X-Hub-Signature-256", "signature": "X-Signature-256", "webhookSignature": "webhook-signature", "gitlabToken": "X-Gitlab-Token",
}

func securitySchemes() object {
	schemes := object{"token": object{"type": "http", "scheme": "bearer"}}
	for name, header := range signatures {
		schemes[name] = object{"type": "apiKey", "in": "header", "name": header}
	}
	return schemes
}

// signedBy says that one of the signatures suffices.
func signedBy() []any {
	var all []any
	for _, name := range slices.Sorted(maps.Keys(signatures)) {
		all = append(all, object{name: []any{}})
	}
	return all
}

// operation returns the description of a route.
func (s *schemas) operation(route route, o operation) object {
	answers := object{}
	for code, value := range o.answers {
		answers[strconv.Itoa(code)] = s.answer(code, value, o)
	}
	for _, code := range slices.Concat(o.codes, commonCodes(route)) {
		answers[strconv.Itoa(code)] = object{"description": http.StatusText(code), "content": s.content(metav1.Status{}, jsonType)}
	}
	described := object{"operationId": o.id, "summary": o.summary, "responses": answers}
	if parameters := parametersOf(route); len(parameters) > 0 {
		described["parameters"] = parameters
	}
	if o.body != nil {
		content := s.content(o.body, jsonType)
		if o.lines != nil {
			content[ndjsonType] = object{"schema": object{"type": "string", "description": "One BatchItem on each line."}}
			s.of(reflect.TypeOf(o.lines))
		}
		described["requestBody"] = object{"content": content}
	}
	if o.anyBody {
		described["requestBody"] = object{"content": object{jsonType: object{"schema": object{}}}}
	}
	switch {
	case route.signed:
		described["security"] = signedBy()
	case !route.public:
		described["security"] = []any{object{"token": []any{}}}
	}
	return described
}

// answer returns the description of one answer of success.
func (s *schemas) answer(code int, value any, o operation) object {
	content := object{"text/plain": object{"schema": object{"type": "string"}}}
	if !o.text {
		content = s.content(value, jsonType)
	}
	if o.events != nil {
		if code != http.StatusOK {
			return object{"description": http.StatusText(code)}
		}
		s.of(reflect.TypeOf(o.events))
		content = object{"text/event-stream": object{"schema": object{"type": "string", "description": "Server-sent events. The data of a run:... is " +
			reflect.TypeOf(o.events).Name() + ", that of an error a Status."}}}
	}
	if o.lines != nil && code == http.StatusOK {
		content[ndjsonType] = object{"schema": object{"type": "string", "description": "One LineAnswer on each line."}}
	}
	return object{"description": http.StatusText(code), "content": content}
}

func (s *schemas) content(value any, kind string) object {
	schema := object{"type": "object"}
	if several, ok := value.(oneOf); ok {
		var all []any
		for _, value := range several {
			all = append(all, s.of(reflect.TypeOf(value)))
		}
		return object{kind: object{"schema": object{"oneOf": all}}}
	}
	if value != nil {
		schema = s.of(reflect.TypeOf(value))
	}
	return object{kind: object{"schema": schema}}
}

var pathParameters = regexp.MustCompile(`\{(\w+)\}`)

// headerParameters returns the headers that have a meaning for a route alone.
func headerParameters(route route) []parameter {
	switch {
	case strings.HasSuffix(route.pattern, "/jobs/{job}/runs"):
		return []parameter{{idempotencyHeader, "The idempotencyKey, instead of the field."}}
	case strings.HasSuffix(route.pattern, "/events"):
		return []parameter{{events.LastIDHeader, "Go on after this id of an earlier stream, or after this resourceVersion."}}
	default:
		return nil
	}
}

// parametersOf returns the parameters of the path, of the query and of the header.
func parametersOf(route route) []any {
	docs := map[string]string{pathNamespace: "The namespace.", pathJob: "The name of the job.", pathRun: "The name of the JobRun.",
		pathDefinition: "The name of the JobDefinition.", pathReceiver: "The name of its receiver."}
	var parameters []any
	for _, match := range pathParameters.FindAllStringSubmatch(route.pattern, -1) {
		parameters = append(parameters, object{
			"name": match[1], "in": "path", "required": true, "description": docs[match[1]], "schema": object{"type": "string"},
		})
	}
	for _, parameter := range route.query {
		parameters = append(parameters, object{
			"name": parameter.name, "in": "query", "description": parameter.doc, "schema": object{"type": "string"},
		})
	}
	for _, header := range headerParameters(route) {
		parameters = append(parameters, object{
			"name": header.name, "in": "header", "description": header.doc, "schema": object{"type": "string"},
		})
	}
	return parameters
}
