// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// rightsTimeout bounds one question about a right.
const rightsTimeout = 5 * time.Second

var (
	jobRuns        = v1alpha1.GroupVersion.WithResource("jobruns")
	jobDefinitions = v1alpha1.GroupVersion.WithResource("jobdefinitions")
	runKeys        = v1alpha1.GroupVersion.WithResource("runkeys")
)

// right is one verb on one resource.
type right struct {
	verb     string
	resource schema.GroupVersionResource
	// subresource is empty for the resource itself.
	subresource string
	// namespace is empty for all namespaces.
	namespace string
	// name is the name of one object, or empty.
	name string
}

func (r right) String() string {
	resource := r.resource.Resource
	if r.subresource != "" {
		resource += "/" + r.subresource
	}
	if r.resource.Group != "" {
		resource += "." + r.resource.Group
	}
	if r.name == "" {
		return fmt.Sprintf("the verb %s on %s", r.verb, resource)
	}
	return fmt.Sprintf("the verb %s on %s %q", r.verb, resource, r.name)
}

// rule returns the rule of a Role that grants the right.
func (r right) rule() string {
	resource, names := r.resource.Resource, ""
	if r.subresource != "" {
		resource += "/" + r.subresource
	}
	if r.name != "" && r.verb == v1alpha1.VerbTrigger {
		names = fmt.Sprintf(", resourceNames: [%s]", r.name)
	}
	return fmt.Sprintf("{apiGroups: [%q], resources: [%s]%s, verbs: [%s]}", r.resource.Group, resource, names, r.verb)
}

// inNamespace returns the needs of a route: one verb on a resource in the namespace of the path.
func inNamespace(verb string, resource schema.GroupVersionResource) func(*http.Request) []right {
	return func(r *http.Request) []right {
		return []right{{verb: verb, resource: resource, namespace: namespaceOf(r)}}
	}
}

// onRun returns the needs of a route: one verb on the JobRun of the path.
func onRun(verb string) func(*http.Request) []right {
	return func(r *http.Request) []right {
		return []right{{verb: verb, resource: jobRuns, namespace: namespaceOf(r), name: r.PathValue(pathRun)}}
	}
}

// toTrigger returns the rights that one trigger of a job needs.
func toTrigger(namespace, job string) []right {
	return []right{
		{verb: "create", resource: jobRuns, namespace: namespace},
		{verb: v1alpha1.VerbTrigger, resource: jobDefinitions, namespace: namespace, name: job},
	}
}

// require returns nil if the caller has all rights. Otherwise it returns a 403 that names the first one that is missing, or
// a 503 if the answer is not known.
func (s *Server) require(ctx context.Context, rights ...right) error {
	for _, needed := range rights {
		denial, err := s.may(ctx, needed)
		if err != nil {
			s.Log.Error(err, "Cannot look up the rights of a caller", "requestID", requestIDOf(ctx))
			return unavailable("the rights of the caller could not be looked up, try again")
		}
		if denial != nil {
			return apierrors.NewForbidden(needed.resource.GroupResource(), needed.name, denial)
		}
	}
	return nil
}

// may returns why the caller does not have a right, or nil if the caller has it. err means that the answer is not known.
func (s *Server) may(ctx context.Context, needed right) (denial, err error) {
	caller := userOf(ctx)
	if caller == nil {
		return nil, errors.New("the caller is not known")
	}
	ctx, cancel := context.WithTimeout(ctx, rightsTimeout)
	defer cancel()
	decision, reason, err := s.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: caller, Verb: needed.verb, Namespace: needed.namespace, Name: needed.name, ResourceRequest: true,
		APIGroup: needed.resource.Group, APIVersion: needed.resource.Version, Resource: needed.resource.Resource, Subresource: needed.subresource,
	})
	switch {
	case decision == authorizer.DecisionAllow:
		return nil, nil
	case err != nil:
		return nil, err
	case reason != "":
		reason = " (" + reason + ")"
	}
	where := fmt.Sprintf("in namespace %q", needed.namespace)
	if needed.namespace == "" {
		where = "in all namespaces"
	}
	return fmt.Errorf("this needs %s, which user %q does not have %s%s; this rule of a Role grants it: %s",
		needed, caller.GetName(), where, reason, needed.rule()), nil
}
