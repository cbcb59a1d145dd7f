// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
	"github.com/jobrun-dev/jobrun/internal/gateway/group"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const (
	// maxCompiled bounds the compiled definitions in memory. Most take far less than the 4 MB of a large one.
	maxCompiled = 16
	// definitionTimeout bounds the read of a definition.
	definitionTimeout = 5 * time.Second
)

// newGroups returns the groups of the triggers, and registers their metrics.
func (s *Server) newGroups() *group.Groups {
	groups := group.New(group.Options{
		Send: s.send, Definition: s.definition, Clock: s.Clock,
		Panicked: func(ctx context.Context, cause any) error { return s.panicked(requestIDOf(ctx), "a commit", cause) },
	})
	s.Metrics.MustRegister(groups.Collectors()...)
	return groups
}

// share sends one trigger of the caller, alone or in a group.
func (s *Server) share(ctx context.Context, namespace string, spec v1alpha1.JobRunSpec, labels map[string]string) (group.Answer, error) {
	return s.answerIn(ctx, s.beginShare(ctx, namespace, spec, labels))
}

// beginShare is the part of share that does not wait. answerIn is the rest, which must be called.
func (s *Server) beginShare(ctx context.Context, namespace string, spec v1alpha1.JobRunSpec, labels map[string]string) *group.Pending {
	return s.groups.Begin(ctx, group.Trigger{Namespace: namespace, User: callerOf(ctx), Labels: labels, Spec: spec, Time: s.Clock.Now()})
}

// answerIn waits for the answer to a trigger.
func (s *Server) answerIn(ctx context.Context, trigger *group.Pending) (group.Answer, error) {
	answer, err := trigger.Wait(ctx)
	switch {
	case errors.Is(err, group.ErrLeft) && s.isCutShort():
		err = errStopping
	case errors.Is(err, group.ErrLeft):
		err = failed(http.StatusRequestTimeout, metav1.StatusReasonTimeout, "%v", err)
	}
	return answer, err
}

// send creates the JobRun of a trigger.
func (s *Server) send(ctx context.Context, t *group.Trigger) (group.Answer, error) {
	return s.create(ctx, func(ctx context.Context) (jobrun.TriggerResult, error) {
		return jobrun.New(s.API, t.Namespace).Trigger(ctx, t.Spec, triggerOptions(t.User, t.Labels)...)
	})
}

// generation identifies what a definition says.
type generation struct {
	uid        types.UID
	generation int64
}

// definition returns the JobDefinition of a reference in its latest generation, compiled.
func (s *Server) definition(ctx context.Context, namespace string, of v1alpha1.DefinitionReference) (group.Definition, error) {
	if known, ok := s.compiled.Get(generation{of.UID, of.Generation}); ok {
		return known.(*definition.Definition), nil
	}
	ctx, cancel := context.WithTimeout(ctx, definitionTimeout)
	defer cancel()
	found := &v1alpha1.JobDefinition{}
	if err := s.API.Get(ctx, types.NamespacedName{Namespace: namespace, Name: of.Name}, found); err != nil {
		return nil, err
	}
	compiled, errs := definition.Compile(found)
	if len(errs) > 0 {
		return nil, fmt.Errorf("compile JobDefinition %s: %w", found.Name, errs.ToAggregate())
	}
	s.compiled.Add(generation{found.UID, found.Generation}, compiled)
	return compiled, nil
}
