// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// NamespaceList is one page of the namespaces whose JobRuns the caller may list.
type NamespaceList struct {
	Items    []string `json:"items" doc:"The names of the namespaces. A page may have fewer than limit, and even none."`
	Continue string   `json:"continue,omitempty" doc:"The parameter continue of the next page. Missing on the last one."`
}

// listNamespaces answers GET /v1/namespaces. The answer has only namespaces that the caller may know of.
func (s *Server) listNamespaces(w http.ResponseWriter, r *http.Request) error {
	page, err := pageOf(r)
	if err != nil {
		return err
	}
	namespaces := metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := s.API.List(r.Context(), &namespaces, page); err != nil {
		return jobrun.Classify(err)
	}
	list := NamespaceList{Items: []string{}, Continue: namespaces.Continue}
	everywhere, err := s.mayListRuns(r, "")
	if err != nil {
		return err
	}
	for i := range namespaces.Items {
		name := namespaces.Items[i].Name
		may := everywhere
		if !may {
			if may, err = s.mayListRuns(r, name); err != nil {
				return err
			}
		}
		if may {
			list.Items = append(list.Items, name)
		}
	}
	return s.writeJSON(w, http.StatusOK, list)
}

// mayListRuns reports whether the caller may list the JobRuns of a namespace, or of all if it is empty.
func (s *Server) mayListRuns(r *http.Request, namespace string) (bool, error) {
	denial, err := s.may(r.Context(), right{verb: "list", resource: jobRuns, namespace: namespace})
	if err != nil {
		return false, unavailable("the rights of the caller could not be looked up, try again")
	}
	return denial == nil, nil
}
