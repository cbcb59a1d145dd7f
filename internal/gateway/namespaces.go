// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// namespacesInFlight bounds the lists of namespaces that are under way. Each asks for a right about each namespace, one after
// the other. A caller has at most one.
const namespacesInFlight = 8

// NamespaceList is one page of the namespaces whose JobRuns the caller may list.
type NamespaceList struct {
	Items    []string `json:"items" doc:"The names of the namespaces, in the order of their bytes. The last page may have none."`
	Continue string   `json:"continue,omitempty" doc:"The parameter continue of the next page. Missing on the last one."`
}

// listNamespaces answers GET /v1/namespaces. The answer tells only of namespaces that the caller may know of: its continue is
// the last one that it has, not that of the API server, which tells others.
func (s *Server) listNamespaces(w http.ResponseWriter, r *http.Request) error {
	page, err := pageOf(r)
	if err != nil {
		return err
	}
	after := page.Continue
	if after != "" && len(validation.IsDNS1123Label(after)) > 0 {
		return badRequest("continue must be that of the page before, not %q", after)
	}
	leave, err := s.enterNamespaces(userOf(r.Context()).GetName())
	if err != nil {
		return err
	}
	defer leave()
	list := NamespaceList{Items: []string{}}
	everywhere, err := s.mayListRuns(r.Context(), "")
	if err != nil {
		return err
	}
	err = s.eachNamespace(r.Context(), func(name string) (more bool, err error) {
		may := name > after
		if may && !everywhere {
			may, err = s.mayListRuns(r.Context(), name)
		}
		if may {
			list.Items = append(list.Items, name)
		}
		return len(list.Items) < int(page.Limit), err
	})
	if err != nil {
		return err
	}
	if len(list.Items) == int(page.Limit) {
		list.Continue = list.Items[page.Limit-1]
	}
	return s.writeJSON(w, http.StatusOK, list)
}

// enterNamespaces counts a list of namespaces until leave is called. It returns a 429 if there are too many.
func (s *Server) enterNamespaces(caller string) (leave func(), err error) {
	leaveOwn, err := s.namespaceLists.enter("the list of namespaces of the caller", caller)
	if err != nil {
		return nil, err
	}
	leaveAll, err := s.allNamespaceLists.enter("the list of namespaces", "")
	if err != nil {
		leaveOwn()
		return nil, err
	}
	return func() {
		leaveAll()
		leaveOwn()
	}, nil
}

// eachNamespace calls see with the name of each namespace, in the order of their bytes, until it says that there is enough.
func (s *Server) eachNamespace(ctx context.Context, see func(name string) (more bool, err error)) error {
	namespaces := metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	for {
		err := s.API.List(ctx, &namespaces, &client.ListOptions{Limit: maxLimit, Continue: namespaces.Continue})
		if err != nil {
			return jobrun.Classify(err)
		}
		for i := range namespaces.Items {
			if more, err := see(namespaces.Items[i].Name); !more || err != nil {
				return err
			}
		}
		if namespaces.Continue == "" {
			return nil
		}
	}
}

// mayListRuns reports whether the caller may list the JobRuns of a namespace, or of all if it is empty.
func (s *Server) mayListRuns(ctx context.Context, namespace string) (bool, error) {
	err := s.require(ctx, right{verb: "list", resource: jobRuns, namespace: namespace})
	if apierrors.IsForbidden(err) {
		return false, nil
	}
	return err == nil, err
}
