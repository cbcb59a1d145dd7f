// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// getDefinition answers GET /v1/namespaces/{ns}/definitions/{job}.
func (s *Server) getDefinition(w http.ResponseWriter, r *http.Request) error {
	return s.answerRead(w, r, objectBytes, func(ctx context.Context) (any, error) {
		definition, err := s.runs(r).Definition(ctx, r.PathValue(pathJob))
		if err != nil {
			return nil, err
		}
		describe(definition, "JobDefinition")
		return definition, nil
	})
}

// toGetDefinition returns the needs of reading the definition of the path.
func toGetDefinition(r *http.Request) []right {
	return []right{{verb: "get", resource: jobDefinitions, namespace: namespaceOf(r), name: r.PathValue(pathJob)}}
}

// listDefinitions answers GET /v1/namespaces/{ns}/definitions.
func (s *Server) listDefinitions(w http.ResponseWriter, r *http.Request) error {
	page, err := pageOf(r)
	if err != nil {
		return err
	}
	return s.answerRead(w, r, listBytes, func(ctx context.Context) (any, error) {
		return s.readPage(ctx, &v1alpha1.JobDefinitionList{}, "JobDefinition", page)
	})
}
