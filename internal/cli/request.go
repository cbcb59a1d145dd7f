// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"maps"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// request is what `trigger` sends.
type request struct {
	spec                v1alpha1.JobRunSpec
	namespace           string
	name, generateName  string
	labels, annotations map[string]string
}

// requestOf is the request that a manifest makes.
func requestOf(run *v1alpha1.JobRun) *request {
	return &request{
		spec:         *run.Spec.DeepCopy(),
		namespace:    run.Namespace,
		name:         run.Name,
		generateName: run.GenerateName,
		labels:       maps.Clone(run.Labels),
		annotations:  maps.Clone(run.Annotations),
	}
}

func (r *request) options() []jobrun.TriggerOption {
	options := []jobrun.TriggerOption{jobrun.WithLabels(r.labels), jobrun.WithAnnotations(r.annotations)}
	if r.name != "" {
		options = append(options, jobrun.WithName(r.name))
	}
	if r.generateName != "" {
		options = append(options, jobrun.WithGenerateName(r.generateName))
	}
	return options
}

// in is the namespace of a request: the command line's, else the manifest's, else
// that of the kubeconfig's context.
func (r *request) in(c *cluster) (*cluster, error) {
	switch {
	case r.namespace == "" || r.namespace == c.namespace:
		return c, nil
	case c.insisted:
		return nil, usagef("the manifest's namespace %q is not %q, which --namespace names", r.namespace, c.namespace)
	default:
		return c.in(r.namespace), nil
	}
}
