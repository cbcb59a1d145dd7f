// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/labels"
)

// LastIDHeader is the header with the id after which a stream goes on.
const LastIDHeader = "Last-Event-ID"

// Bounds of the label selectors of one stream.
const (
	maxConditions = 32
	maxValues     = 256
)

// request is what a client asks for.
type request struct {
	// caller is the name of who asks.
	caller    string
	selection selection
	// run is the name of the JobRun whose events the stream has. The selection has its uid once that is known.
	run string
	// resumes reports whether the client had a stream before.
	resumes bool
	// last is the version up to which the client has everything, or 0 if that cannot be read.
	last uint64
}

// parse reads a request, whose parameters the gateway knows. Its error is a 400.
func parse(r *http.Request) (request, error) {
	var asked request
	for name, values := range r.URL.Query() {
		switch name {
		case "jobName":
			asked.selection.jobName = values[0]
		case "run":
			asked.run = values[0]
			if problems := validation.NameIsDNSSubdomain(asked.run, false); len(problems) > 0 {
				return asked, apierrors.NewBadRequest("the parameter \"run\" is no name: " + strings.Join(problems, ", "))
			}
		case "label":
			var err error
			if asked.selection.labels, err = parseLabels(values); err != nil {
				return asked, err
			}
		}
	}
	if last := r.Header.Get(LastIDHeader); last != "" {
		asked.resumes = true
		asked.last, _ = parseVersion(last)
	}
	return asked, nil
}

// parseLabels reads label selectors. They are evaluated for each event, while all other streams wait, so they have bounds.
// Its error is a 400.
func parseLabels(values []string) ([]labels.Selector, error) {
	var selectors []labels.Selector
	conditions, compared := 0, 0
	for _, value := range values {
		selector, err := labels.Parse(value)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("the parameter \"label\" is no label selector: %v", err))
		}
		selectors = append(selectors, selector)
		requirements, _ := selector.Requirements()
		conditions += len(requirements)
		for _, requirement := range requirements {
			compared += len(requirement.ValuesUnsorted())
		}
	}
	if conditions > maxConditions || compared > maxValues {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the parameters \"label\" may have %d conditions and %d values in all, but have %d and %d",
			maxConditions, maxValues, conditions, compared))
	}
	return selectors, nil
}
