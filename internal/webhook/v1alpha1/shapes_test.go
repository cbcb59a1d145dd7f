// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/config/crd"
)

// A webhook that knows the shape of a spec answers like one that sees it for the first time.
func TestKnownShapes(t *testing.T) {
	const (
		plain    = "jobName: job, coalesce: Skip, concurrencyKey: k, idempotencyKey: i, maxAttempts: 4, input: {a: 1}"
		template = ", template: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}"
	)
	with := func(old, new string) string { return strings.Replace(plain, old, new, 1) }
	of := func(name, spec string) string { return "metadata: {name: " + name + "}\nspec: {" + spec + "}\n" }
	long := strings.Repeat("n", 60)
	for name, manifest := range map[string]string{
		"the same":                      of("b", plain),
		"another key":                   of("b", with("Key: k", "Key: ö")),
		"another delivery":              of("b", with("Key: i", "Key: i2")),
		"the longest key":               of("b", with("Key: k", "Key: "+strings.Repeat("ö", 256))),
		"a key that is too long":        of("b", with("Key: k", "Key: "+strings.Repeat("ö", 257))),
		"an empty key":                  of("b", with("Key: k", "Key: ''")),
		"a key that is null":            of("b", with("Key: k", "Key: null")),
		"a key that is a number":        of("b", with("Key: k", "Key: 7")),
		"a key with a control":          of("b", with("Key: k", `Key: "a\u0000"`)),
		"a key with a high control":     of("b", with("Key: k", `Key: "a\u009f"`)),
		"a delivery with a control":     of("b", with("Key: i", `Key: "a\n"`)),
		"coalesce without a key":        of("b", with("concurrencyKey: k, ", "")),
		"a term without a delivery":     of("b", with("idempotencyKey: i, ", "idempotencyTTLSeconds: 5, ")),
		"another input":                 of("b", with("{a: 1}", "[1, null]")),
		"an input that is null":         of("b", with("{a: 1}", "null")),
		"another number":                of("b", with("maxAttempts: 4", "maxAttempts: 5")),
		"a wrong number":                of("b", with("maxAttempts: 4", "maxAttempts: 0")),
		"a number that is null":         of("b", with("maxAttempts: 4", "maxAttempts: null")),
		"another job":                   of("b", with("jobName: job", "jobName: job2")),
		"a wrong job":                   of("b", with("jobName: job", "jobName: Job")),
		"a long name":                   of(long, plain),
		"a long name with a template":   of(long, plain+template),
		"a wrong name":                  of("B", plain),
		"a template":                    of("b", plain+template),
		"a wrong template":              of("b", plain+strings.Replace(template, "image: x", "image: x, ports: [{name: p}]", 1)),
		"a batch":                       of("b", with("maxAttempts: 4", "batch: {id: b, size: 1, leader: b}")),
		"a wrong batch":                 of("b", with("maxAttempts: 4", "batch: {id: b, size: 1001, leader: b}")),
		"a forged admission":            of("b", with("maxAttempts: 4", "maxAttempts: 4, admission: {disposition: Nonsense}")),
		"fields that look like another": of("b", with("jobName: job, coalesce: Skip", `jobName: 'job","coalesce":"Skip'`)),
	} {
		t.Run(name, func(t *testing.T) {
			newToken := func() string { return "token-b" }
			first := newReplicaOf(t, newToken).create(t, manifest)
			warm := newReplicaOf(t, newToken)
			for i, spec := range []string{plain, plain + template, plain + template} { // A template is known before a shape with it is.
				others := strings.NewReplacer("Key: k", fmt.Sprintf("Key: k-%d", i), "Key: i", fmt.Sprintf("Key: i-%d", i))
				if response := warm.create(t, of(fmt.Sprintf("warm-%d", i), others.Replace(spec))); !response.Allowed {
					t.Fatalf("refused: %+v", response.Result)
				}
			}
			if diff := cmp.Diff(first, warm.create(t, manifest)); diff != "" {
				t.Errorf("the answer changed once the shape was known:\n%s", diff)
			}
		})
	}
}

// The webhook leaves out the text of the keys in a shape, so no rule of a new JobRun may look at it beside the key's own one.
func TestNoRuleLooksAtTheKeys(t *testing.T) {
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(crd.JobRuns, definition); err != nil {
		t.Fatal(err)
	}
	whole := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	rules := slices.Concat(whole.XValidations, whole.Properties["spec"].XValidations)
	if len(rules) == 0 {
		t.Fatal("no rules")
	}
	present := regexp.MustCompile(`has\([^()]*\)`)
	for _, r := range rules {
		rest := present.ReplaceAllString(r.Rule, "")
		if !strings.Contains(r.Rule, "oldSelf") && regexp.MustCompile(`concurrencyKey|idempotencyKey\b`).MatchString(rest) {
			t.Errorf("a rule looks at a key: %s", r.Rule)
		}
	}
}
