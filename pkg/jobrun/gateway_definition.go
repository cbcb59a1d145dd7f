// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Definition is Client.Definition.
func (g *GatewayClient) Definition(ctx context.Context, jobName string) (*v1alpha1.JobDefinition, error) {
	if errs := validateJobName(jobName, field.NewPath("metadata", "name")); len(errs) > 0 {
		return nil, invalidDefinition(jobName, errs)
	}
	definition := &v1alpha1.JobDefinition{}
	if err := g.call(ctx, http.MethodGet, "/definitions/"+jobName, nil, nil, definition); err != nil {
		return nil, Classify(err)
	}
	return definition, nil
}

// Definitions is Client.Definitions. It reads page by page, all of them as of the same time.
func (g *GatewayClient) Definitions(ctx context.Context) ([]v1alpha1.JobDefinition, error) {
	var definitions []v1alpha1.JobDefinition
	for query := (url.Values{"limit": {gatewayPage}}); ; {
		var page v1alpha1.JobDefinitionList
		if err := g.call(ctx, http.MethodGet, "/definitions", query, nil, &page); err != nil {
			return nil, Classify(err)
		}
		definitions = append(definitions, page.Items...)
		if page.Continue == "" {
			slices.SortFunc(definitions, byName)
			return definitions, nil
		}
		query.Set("continue", page.Continue)
	}
}
