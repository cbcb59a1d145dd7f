// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// maxSchemaBytes bounds the text of a schema.
	maxSchemaBytes = 64 << 10
	// maxSchemaElements bounds the fields and items of a schema, by its commas. An input of bad values must not take long.
	maxSchemaElements = 2000
	// inputField is the field of the object that a schema describes.
	inputField = "input"
)

// inputSchema is a schema of {"input": ...}. So the input may be of any type, and may have a default, as the field of a custom
// resource. Its errors also get the right path.
type inputSchema struct {
	structural *structuralschema.Structural
	// input validates the input.
	input *node
}

// ofInput returns the schema of the input alone.
func (s *inputSchema) ofInput() *structuralschema.Structural {
	schema := s.structural.Properties[inputField]
	return &schema
}

// newInputSchema makes the schema of an input. path is where it is in the JobDefinition.
func newInputSchema(raw *apiextensionsv1.JSON, path *field.Path) (*inputSchema, field.ErrorList) {
	if raw == nil || isNull(raw.Raw) {
		return nil, field.ErrorList{field.Required(path, "")}
	}
	props, errs := parseSchema(raw.Raw, path)
	if len(errs) > 0 {
		return nil, errs
	}
	if errs := crdErrors(withoutDefaults(props), path); len(errs) > 0 {
		return nil, errs
	}
	validator, err := newNode(props)
	if err != nil {
		return nil, field.ErrorList{field.Invalid(path, "", err.Error())}
	}
	if defaults := defaultsIn(props, validator, path); len(defaults) > 0 {
		errs := defaultErrors(defaults, path)
		if len(errs) == 0 {
			errs = crdErrors(props, path)
		}
		if len(errs) > 0 {
			return nil, errs
		}
	}
	structural, err := structuralschema.NewStructural(objectOf(props))
	if err != nil {
		return nil, field.ErrorList{field.Invalid(path, "", err.Error())}
	}
	return &inputSchema{structural, validator}, nil
}

// objectOf returns the schema of {"input": ...}.
func objectOf(input *apiextensions.JSONSchemaProps) *apiextensions.JSONSchemaProps {
	return &apiextensions.JSONSchemaProps{Type: "object", Properties: map[string]apiextensions.JSONSchemaProps{inputField: *input}}
}

func parseSchema(raw []byte, path *field.Path) (*apiextensions.JSONSchemaProps, field.ErrorList) {
	if len(raw) > maxSchemaBytes {
		return nil, field.ErrorList{field.TooLong(path, "", maxSchemaBytes)}
	}
	if v1alpha1.Levels(raw) > v1alpha1.MaxLevels {
		return nil, field.ErrorList{field.Invalid(path, "", fmt.Sprintf("must have at most %d levels of arrays and objects", v1alpha1.MaxLevels))}
	}
	if commas := bytes.Count(raw, []byte{','}); commas > maxSchemaElements {
		return nil, field.ErrorList{field.TooMany(path, commas, maxSchemaElements)}
	}
	var untyped any
	if err := json.Unmarshal(raw, &untyped); err != nil {
		return nil, field.ErrorList{field.Invalid(path, "", err.Error())}
	}
	if errs := append(keywordErrors(untyped, path), junctorErrors(untyped, path)...); len(errs) > 0 {
		return nil, errs
	}
	if n := patternsIn(untyped); n > maxInstructions {
		return nil, field.ErrorList{field.Invalid(path, "", fmt.Sprintf("its patterns are too large: they have %d instructions, more than %d", n, maxInstructions))}
	}
	var external apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(raw, &external); err != nil {
		return nil, field.ErrorList{field.Invalid(path, "", err.Error())}
	}
	props := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&external, props, nil); err != nil {
		return nil, field.ErrorList{field.Invalid(path, "", err.Error())}
	}
	return props, nil
}

// crdErrors returns what the API server finds wrong with a CustomResourceDefinition that has this schema of an input. It checks that
// the schema is structural, that its patterns are legal, and that its defaults fit.
func crdErrors(input *apiextensions.JSONSchemaProps, path *field.Path) field.ErrorList {
	const plural, group, version = "inputs", "jobrun.dev", "v1"
	found := crdvalidation.ValidateCustomResourceDefinition(context.Background(), &apiextensions.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiextensions.CustomResourceDefinitionSpec{
			Group:                 group,
			Names:                 apiextensions.CustomResourceDefinitionNames{Plural: plural, Singular: "input", Kind: "Input", ListKind: "InputList"},
			Scope:                 apiextensions.NamespaceScoped,
			Conversion:            &apiextensions.CustomResourceConversion{Strategy: apiextensions.NoneConverter},
			PreserveUnknownFields: new(bool),
			Version:               version,
			Versions:              []apiextensions.CustomResourceDefinitionVersion{{Name: version, Served: true, Storage: true}},
			Validation:            &apiextensions.CustomResourceValidation{OpenAPIV3Schema: objectOf(input)},
		},
		Status: apiextensions.CustomResourceDefinitionStatus{StoredVersions: []string{version}},
	})
	const prefix = "spec.validation.openAPIV3Schema"
	for _, err := range found {
		_, rest, _ := strings.Cut(err.Field, prefix)
		err.Field = path.String() + strings.TrimPrefix(rest, ".properties["+inputField+"]")
	}
	return sortedErrors(found)
}

// complete returns the input with the defaults of the schema, or everything that is wrong with it.
func (s *inputSchema) complete(sent *apiextensionsv1.JSON) (input, field.ErrorList) {
	object := map[string]any{}
	value, err := decodeNumbers(sent)
	if err != nil {
		return input{}, field.ErrorList{field.Invalid(inputPath, "", err.Error())}
	}
	schema := s.ofInput()
	if value == nil && schema.Type == "object" && schema.Default.Object == nil {
		value = map[string]any{}
	}
	if value != nil {
		object[inputField] = value
	}
	if err := s.tooMuch(value); err != nil {
		return input{}, field.ErrorList{err}
	}
	if takeSize(v1alpha1.MaxInputBytes, value, schema) < 0 {
		return input{}, field.ErrorList{field.Invalid(inputPath, "", fmt.Sprintf("has more than %d bytes with the defaults of the inputSchema", v1alpha1.MaxInputBytes))}
	}
	defaulting.Default(object, s.structural)
	if object[inputField] == nil {
		if schema.Nullable {
			return input{}, nil
		}
		return input{}, field.ErrorList{field.Required(inputPath, "")}
	}
	completed, err := json.Marshal(object[inputField])
	if err != nil {
		return input{}, field.ErrorList{field.Invalid(inputPath, "", err.Error())}
	}
	return s.validate(sent, completed)
}

// validate returns the completed input. It is the sent one, to the byte, if both are the same JSON.
func (s *inputSchema) validate(sent *apiextensionsv1.JSON, completed []byte) (input, field.ErrorList) {
	var value any
	if err := utiljson.Unmarshal(completed, &value); err != nil {
		return input{}, field.ErrorList{field.Invalid(inputPath, "", err.Error())}
	}
	if errs := s.errors(value); len(errs) > 0 {
		return input{}, errs
	}
	if sent == nil || !sameJSON(sent.Raw, completed) {
		sent = &apiextensionsv1.JSON{Raw: completed}
	}
	return input{sent, value}, nil
}

// errors returns what is wrong with a decoded input. It removes the unknown fields that it reports.
func (s *inputSchema) errors(value any) field.ErrorList {
	object := map[string]any{inputField: value}
	var errs field.ErrorList
	track := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	unknownFields := pruning.PruneWithOptions(object, s.structural, false, track)
	for _, unknown := range unknownFields[:min(len(unknownFields), maxErrors)] {
		errs = append(errs, field.Forbidden(specPath.Child(unknown), "unknown field: the inputSchema of the job does not name it"))
	}
	if err := s.tooMuch(object[inputField]); err != nil {
		return append(errs, err)
	}
	errs = s.input.validate(object[inputField], inputPath, errs)
	errs = append(errs, listtype.ValidateListSetsAndMaps(specPath, s.structural, object)...)
	return sortedErrors(errs)
}

// tooMuch returns an error if it would take too long to complete and validate an input.
func (s *inputSchema) tooMuch(value any) *field.Error {
	if s.input.work(value) <= maxWork {
		return nil
	}
	return field.Invalid(inputPath, "", "has too many values, or too long texts, for the properties, patterns, enums and alternatives of the inputSchema")
}

// sortedErrors sorts errors by their text, because maps give them in any order.
func sortedErrors(errs field.ErrorList) field.ErrorList {
	slices.SortFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

// decode returns the value of an input: nil without one, and for null.
func decode(sent *apiextensionsv1.JSON) (value any, err error) {
	if sent == nil || len(sent.Raw) == 0 {
		return nil, nil
	}
	return value, utiljson.Unmarshal(sent.Raw, &value)
}

// decodeNumbers is decode, but keeps the text of numbers.
func decodeNumbers(sent *apiextensionsv1.JSON) (value any, err error) {
	if sent == nil || len(sent.Raw) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(sent.Raw))
	decoder.UseNumber()
	return value, decoder.Decode(&value)
}

func isNull(raw []byte) bool {
	trimmed := bytes.TrimSpace(raw)
	return len(trimmed) == 0 || string(trimmed) == "null"
}

// sameJSON reports whether two texts have the same value. The second one was marshalled by Go.
func sameJSON(sent, marshalled []byte) bool {
	if bytes.Equal(sent, marshalled) {
		return true
	}
	value, err := decodeNumbers(&apiextensionsv1.JSON{Raw: sent})
	if err != nil {
		return false
	}
	again, err := json.Marshal(value)
	return err == nil && bytes.Equal(again, marshalled)
}
