// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// A namespace can write any number of definitions. Only a few with large schemas are kept, because each takes megabytes.
func TestCompiledDefinitionsAreBounded(t *testing.T) {
	d := newDefinitions(nil, nil)
	compile := func(name string, description int) compiledDefinition {
		from := &v1alpha1.JobDefinition{}
		from.Name, from.Generation = name, 1
		from.Spec.InputSchema = &v1alpha1.InputSchema{OpenAPIV3Schema: &apiextensionsv1.JSON{
			Raw: fmt.Appendf(nil, `{"type": "object", "description": %q}`, strings.Repeat("x", description)),
		}}
		return d.compile(from)
	}
	small := compile("small", 1)
	var large compiledDefinition
	for i := range 300 {
		large = compile(fmt.Sprintf("large-%d", i), largeSchema)
	}
	if d.compiled.Len() != 1 || d.large.Len() != maxLarge {
		t.Errorf("%d small ones and %d large ones are kept", d.compiled.Len(), d.large.Len())
	}
	if compile("small", 1).Definition != small.Definition || compile("large-299", largeSchema).Definition != large.Definition {
		t.Error("a definition was compiled again")
	}
}
