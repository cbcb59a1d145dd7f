// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Selector selects the JobRuns that match every field that is set.
type Selector struct {
	// JobName is spec.jobName.
	JobName string
	// ConcurrencyKey is spec.concurrencyKey. Keys belong to a job: without JobName this selects JobRuns of every job
	// that uses this concurrencyKey.
	ConcurrencyKey string
	// Labels selects by the labels of the JobRun.
	Labels labels.Selector
}

// fields returns what the API server selects by: the immutable fields, and the phase if there is exactly one.
func (s Selector) fields(phases ...v1alpha1.Phase) client.ListOption {
	set := fields.Set{}
	if len(phases) == 1 && phases[0] != "" {
		set["status.phase"] = string(phases[0])
	}
	if s.JobName != "" {
		set["spec.jobName"] = s.JobName
	}
	if s.ConcurrencyKey != "" {
		set["spec.concurrencyKey"] = s.ConcurrencyKey
	}
	return client.MatchingFieldsSelector{Selector: set.AsSelector()}
}

// List reads the selected JobRuns, runs and receipts, oldest first. With phases, it returns only the JobRuns in one of
// them; the phase "" stands for JobRuns that have no phase yet. Errors are the API server's.
func (c *Client) List(ctx context.Context, s Selector, phases ...v1alpha1.Phase) ([]v1alpha1.JobRun, error) {
	opts := []client.ListOption{client.InNamespace(c.namespace), s.fields(phases...)}
	if s.Labels != nil {
		opts = append(opts, client.MatchingLabelsSelector{Selector: s.Labels})
	}
	var list v1alpha1.JobRunList
	if err := c.api.List(ctx, &list, opts...); err != nil {
		return nil, Classify(err)
	}
	runs := slices.DeleteFunc(list.Items, func(run v1alpha1.JobRun) bool {
		return len(phases) > 0 && !slices.Contains(phases, run.Status.Phase)
	})
	slices.SortFunc(runs, older)
	return runs, nil
}

func older(a, b v1alpha1.JobRun) int { return v1alpha1.CompareAge(&a, &b) }
