// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// listDefinitions answers GET /v1/namespaces/{ns}/definitions.
func (s *Server) listDefinitions(w http.ResponseWriter, r *http.Request) error {
	page, err := pageOf(r)
	if err != nil {
		return err
	}
	var list v1alpha1.JobDefinitionList
	if err := s.API.List(r.Context(), &list, page); err != nil {
		return jobrun.Classify(err)
	}
	for i := range list.Items {
		describe(&list.Items[i], "JobDefinition")
	}
	list.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "JobDefinitionList"}
	return s.writeJSON(w, http.StatusOK, list)
}
