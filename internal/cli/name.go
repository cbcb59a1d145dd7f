// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// resourceNames are the names of the resource that may stand before a NAME.
var resourceNames = []string{
	"jobrun", "jobruns", "jr", "jobrun." + v1alpha1.GroupVersion.Group, "jobruns." + v1alpha1.GroupVersion.Group,
}

// parseName parses NAME or jobrun.batch.jobrun.dev/NAME, which -o name prints.
func parseName(argument string) (string, error) {
	resource, name, qualified := strings.Cut(argument, "/")
	if !qualified {
		name = argument
	} else if !slices.Contains(resourceNames, strings.ToLower(resource)) {
		return "", usagef("%q is not a JobRun: write NAME or jobrun/NAME", argument)
	}
	if name == "" || strings.Contains(name, "/") {
		return "", usagef("%q is not a JobRun name", argument)
	}
	return name, nil
}
