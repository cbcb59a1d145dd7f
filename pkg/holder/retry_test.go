// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// status500 is what the API server makes of an error that it does not know.
func status500(message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Message: message, Code: 500}}
}

func TestRefusedForGood(t *testing.T) {
	resource := v1alpha1.GroupVersion.WithResource("jobruns").GroupResource()
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"no error":             {nil, false},
		"no answer":            {errors.New("etcdserver: request is too large"), false},
		"invalid":              {apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("JobRun").GroupKind(), "a", nil), true},
		"invalid, wrapped":     {fmt.Errorf("x: %w", apierrors.NewBadRequest("x")), true},
		"a conflict":           {apierrors.NewConflict(resource, "a", nil), false},
		"busy":                 {apierrors.NewTooManyRequests("x", 1), false},
		"the webhook is away":  {apierrors.NewInternalError(errors.New(`failed calling webhook "output.batch.jobrun.dev"`)), false},
		"too large a request":  {apierrors.NewRequestEntityTooLargeError("limit is 3145728"), true},
		"too large for etcd":   {status500("etcdserver: request is too large"), true},
		"too large for a call": {status500("rpc error: code = ResourceExhausted desc = trying to send message larger than max (2400517 vs. 2097152)"), true},
		"etcd has no leader":   {status500("etcdserver: no leader"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := RefusedForGood(tc.err); got != tc.want {
				t.Errorf("RefusedForGood(%v) = %t", tc.err, got)
			}
		})
	}
}

// refusing is a client whose status patches get an error.
type refusing struct {
	client.Client
	err error
}

func (r refusing) Status() client.SubResourceWriter { return refusingStatus{err: r.err} }

type refusingStatus struct {
	client.SubResourceWriter
	err error
}

func (r refusingStatus) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return r.err
}

func TestSendNamesTheLimit(t *testing.T) {
	cause := status500("etcdserver: request is too large")
	_, err := Complete(1, []byte(`"x"`)).Send(t.Context(), refusing{err: cause}, &v1alpha1.JobRun{})
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "status.output must have at most 262144 bytes of JSON") {
		t.Errorf("got %v", err)
	}
	other := status500("etcdserver: no leader")
	if _, err := Complete(1, nil).Send(t.Context(), refusing{err: other}, &v1alpha1.JobRun{}); !errors.Is(err, other) || err.Error() != other.Error() {
		t.Errorf("got %v, want %v as it is", err, other)
	}
}
