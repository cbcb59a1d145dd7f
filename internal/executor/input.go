// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var (
	// legalVariable matches the names that a shell can use. The kubelet expands $(NAME) of any name.
	legalVariable = regexp.MustCompile(`^[A-Z0-9_]+$`)
	toVariable    = strings.NewReplacer("-", "_", ".", "_")
)

// MaxInputVariables bounds the variables of an input. Each container of a Job has them all, and the API server stores no object of
// more than some MiB.
const MaxInputVariables = 256

// InputVariables returns the environment variables of the top-level texts, numbers and booleans of an input. A field has none if
// WithoutVariable has its name, or if its text holds U+0000. Of more than MaxInputVariables, it returns those whose fields come
// first by name.
func InputVariables(input *apiextensionsv1.JSON) map[string]string {
	fields := topLevel(input)
	names := slices.Sorted(maps.Keys(fields))
	without := WithoutVariable(names)
	variables := map[string]string{}
	for _, name := range names {
		_, skip := slices.BinarySearch(without, name)
		if text, ok := scalar(fields[name]); ok && !skip && !strings.ContainsRune(text, 0) && len(variables) < MaxInputVariables {
			variables[variableOf(name)] = text
		}
	}
	return variables
}

// WithoutVariable returns those of the fields of an input, sorted, whose name gives no legal variable, or that of another field.
func WithoutVariable(fields []string) []string {
	taken := map[string]int{}
	for _, name := range fields {
		taken[variableOf(name)]++
	}
	var without []string
	for _, name := range fields {
		if variable := variableOf(name); name == "" || taken[variable] > 1 || !legalVariable.MatchString(variable) {
			without = append(without, name)
		}
	}
	slices.Sort(without)
	return without
}

func variableOf(field string) string {
	return v1alpha1.EnvInputPrefix + toVariable.Replace(strings.ToUpper(field))
}

// topLevel returns the fields of an input that is an object.
func topLevel(input *apiextensionsv1.JSON) map[string]any {
	if input == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(input.Raw))
	decoder.UseNumber()
	var fields map[string]any
	if decoder.Decode(&fields) != nil {
		return nil
	}
	return fields
}

// scalar returns the text of a JSON text, number or boolean.
func scalar(value any) (text string, ok bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	default:
		return "", false
	}
}
