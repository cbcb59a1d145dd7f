// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobrun-dev/jobrun/config/crd"
)

// A webhook that knows a template answers like one that sees the template for the first time.
func TestKnownTemplates(t *testing.T) {
	const run = "metadata: {name: b}\nspec: {jobName: job, concurrencyKey: k, "
	template := func(pod string) string { return "template: {spec: {template: {spec: " + pod + "}}}" }
	known := template(onePod)
	many := template("{restartPolicy: Never, containers: [{name: a, image: x, args: [" + strings.Repeat("a,", 1500) + "a]}]}")
	for name, tc := range map[string]struct{ template, manifest string }{
		"a valid run":                   {known, run + known + "}\n"},
		"a valid run without a key":     {known, "metadata: {name: b}\nspec: {jobName: job, " + known + "}\n"},
		"a wrong field":                 {known, run + "maxAttempts: 0, " + known + "}\n"},
		"a key that is a number":        {known, strings.Replace(run, "k,", "7,", 1) + known + "}\n"},
		"a name that is too long":       {known, strings.Replace(run, "b}", strings.Repeat("n", 60)+"}", 1) + known + "}\n"},
		"coalesce without a key":        {known, "metadata: {name: b}\nspec: {jobName: Job, coalesce: Skip, " + known + "}\n"},
		"the text of a known template":  {known, run + strings.Replace(known, "template: ", "input: ", 1) + "}\n"},
		"a template without containers": {template("{restartPolicy: Never, containers: []}"), ""},
		"a template without restartPolicy": {
			template("{containers: [{name: a, image: x}]}"), "",
		},
		"a template that the schema refuses": {
			template("{restartPolicy: Never, containers: [{name: a, image: x, imagePullPolicy: 7}]}"), "",
		},
		"a port that the schema refuses": {
			template("{restartPolicy: Never, containers: [{name: a, image: x, ports: [{name: p}]}]}"), "",
		},
		"a template of many elements": {many, run + "maxAttempts: 0, " + many + "}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.manifest == "" {
				tc.manifest = run + tc.template + "}\n"
			}
			newToken := func() string { return "token-b" }
			first := newReplicaOf(t, newToken).create(t, tc.manifest)
			warm := newReplicaOf(t, newToken)
			for range 2 { // The first time without a key, which needs no schema.
				warm.create(t, "metadata: {name: warm}\nspec: {jobName: job, "+tc.template+"}\n")
				warm.create(t, "metadata: {name: warm-keyed}\nspec: {jobName: job, concurrencyKey: warm, "+tc.template+"}\n")
			}
			if diff := cmp.Diff(first, warm.create(t, tc.manifest)); diff != "" {
				t.Errorf("the answer changed once the template was known:\n%s", diff)
			}
		})
	}
}

// The webhook leaves out a known template when it validates a run, so no rule outside of the template may look into it.
func TestNoRuleLooksIntoTheTemplate(t *testing.T) {
	for _, line := range strings.Split(string(crd.JobRuns), "\n") {
		if regexp.MustCompile(`self\.(spec\.)?template\b`).MatchString(line) && regexp.MustCompile(`template[.\[]|template *[=!]=`).MatchString(line) {
			t.Errorf("a rule looks into the template: %s", strings.TrimSpace(line))
		}
	}
}
