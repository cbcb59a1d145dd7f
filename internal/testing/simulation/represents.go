// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/model"
)

// resendFor is how long after the first time a create whose answer was lost is sent again.
const resendFor = time.Minute

// represent makes a JobRun stand for several triggers. The annotation identifies its create, however often it is sent.
func represent(run *v1alpha1.JobRun, count int32) {
	run.Annotations = map[string]string{v1alpha1.AnnotationTrigger: run.Name}
	run.Spec.Represents = &v1alpha1.Represents{Count: count}
	for n := range min(count-1, 3) {
		run.Spec.Represents.Recent = append(run.Spec.Represents.Recent, v1alpha1.RepresentedTrigger{
			Input: &apiextensionsv1.JSON{Raw: fmt.Appendf(nil, `{"from":"%s/%d"}`, run.Name, n)},
			Time:  metav1.NewMicroTime(time.Unix(1e9, 0).UTC()),
			User:  "caller",
		})
	}
}

// trigger sends a trigger. If it stands for several and its answer is lost, it is sent again.
func (s *system) trigger(ctx context.Context, t Trigger) model.Answer {
	run := newRun(t)
	if t.Represents == 0 {
		return s.gateway.Create(ctx, run, false)
	}
	for begin := s.Clock.Now(); ; {
		answer := s.gateway.CreateInTime(ctx, run.DeepCopy())
		if t.Again == 0 || !isLost(answer.Err) {
			return answer
		}
		<-s.Clock.After(max(t.Again-s.Clock.Since(begin), time.Second))
		if s.Clock.Since(begin) > resendFor {
			return answer
		}
	}
}

// isLost reports whether an error does not tell if the JobRun was stored.
func isLost(err error) bool {
	var status apierrors.APIStatus
	return err != nil && (!errors.As(err, &status) || apierrors.IsInternalError(err))
}

// longestTTL returns the longest time for which a JobRun or a Job is kept after its end, in whole minutes.
func (s *Scenario) longestTTL() time.Duration {
	if slices.ContainsFunc(s.Triggers, func(t Trigger) bool { return t.Represents > 0 }) {
		return 3 * time.Minute // They are kept for 2 minutes after their creation.
	}
	return time.Minute
}
