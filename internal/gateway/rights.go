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
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// rightsTimeout bounds one question about a right.
	rightsTimeout = 5 * time.Second
	// rightsInFlight bounds the questions about different rights of one caller that wait for an answer.
	rightsInFlight = 64
)

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

// texts returns all that tells the right from others.
func (r right) texts() []string {
	return []string{r.verb, r.resource.Group, r.resource.Version, r.resource.Resource, r.subresource, r.namespace, r.name}
}

// rule returns the rule of a Role or a ClusterRole that grants the right.
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
// a 429 or a 503 if the answer is not known.
func (s *Server) require(ctx context.Context, rights ...right) error {
	for _, needed := range rights {
		denial, err := s.may(ctx, needed)
		if apierrors.IsTooManyRequests(err) {
			return err
		}
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
	if s.rights.has(caller, needed) {
		return nil, nil
	}
	asked := s.Clock.Now()
	verdict, err := s.ask(ctx, caller, needed)
	reason := verdict.reason
	switch {
	case err != nil:
		return nil, err
	case verdict.allowed:
		s.rights.add(caller, needed, s.Clock.Since(asked))
		return nil, nil
	case reason != "":
		reason = " (" + reason + ")"
	}
	where, role := fmt.Sprintf("in namespace %q", needed.namespace), "Role"
	if needed.namespace == "" { // A RoleBinding grants nothing in all namespaces.
		where, role = "in all namespaces", "ClusterRole, bound by a ClusterRoleBinding,"
	}
	return fmt.Errorf("this needs %s, which user %q does not have %s%s; this rule of a %s grants it: %s",
		needed, caller.GetName(), where, reason, role, needed.rule()), nil
}

// verdict is the answer to a question about a right.
type verdict struct {
	allowed bool
	// reason is why, or empty.
	reason string
}

// ask asks the authorizer, which remembers its answers. Requests that ask the same at once share one question, which goes on
// if the first one of them leaves. It returns a 429 if too many other questions of the caller are under way.
func (s *Server) ask(ctx context.Context, caller user.Info, needed right) (verdict, error) {
	question := fmt.Sprintf("%q %q %q %q %q", caller.GetName(), caller.GetUID(), caller.GetGroups(), caller.GetExtra(), needed.texts())
	answer, err, _ := s.questions.Do(question, func() (any, error) {
		leave, err := s.asking.enter("the rights of the caller", caller.GetName())
		if err != nil {
			return verdict{}, err
		}
		defer leave()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rightsTimeout)
		defer cancel()
		decision, reason, err := s.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
			User: caller, Verb: needed.verb, Namespace: needed.namespace, Name: needed.name, ResourceRequest: true,
			APIGroup: needed.resource.Group, APIVersion: needed.resource.Version, Resource: needed.resource.Resource, Subresource: needed.subresource,
		})
		if decision == authorizer.DecisionAllow {
			err = nil
		}
		return verdict{decision == authorizer.DecisionAllow, reason}, err
	})
	got, _ := answer.(verdict)
	return got, err
}
