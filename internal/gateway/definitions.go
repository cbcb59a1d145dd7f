// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

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
