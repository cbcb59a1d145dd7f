// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/config/crd"
)

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// schemas makes the schemas of Go types. A struct becomes a component of the document. Its fields are described by
//
//   - the tag crd: the path of a field of JobRun. The CustomResourceDefinition has its schema and its description;
//   - the tag doc: the description, which replaces that of crd;
//   - SwaggerDoc, which the types of Kubernetes have.
//
// A field without any of these is an error.
type schemas struct {
	components object
	jobRun     object
	errs       []error
}

// documented is implemented by the types of Kubernetes.
type documented interface{ SwaggerDoc() map[string]string }

func newSchemas() (*schemas, error) {
	s := &schemas{components: object{}}
	for kind, manifest := range map[string][]byte{"JobRun": crd.JobRuns, "JobDefinition": crd.JobDefinitions} {
		schema, err := schemaOfCRD(manifest)
		if err != nil {
			return nil, fmt.Errorf("read the CRD of %s: %w", kind, err)
		}
		if err := s.share(schema); err != nil {
			return nil, fmt.Errorf("the CRD of %s: %w", kind, err)
		}
		s.components[kind] = schema
		s.components[kind+"List"] = object{"type": "object", "properties": object{
			"apiVersion": object{"type": "string"}, "kind": object{"type": "string"},
			"metadata": object{"type": "object", "description": "continue is the parameter of the next page. It is missing on the last one. " +
				"resourceVersion is the state that the list shows.", "properties": object{
				"continue": object{"type": "string"}, "resourceVersion": object{"type": "string"}, "remainingItemCount": object{"type": "integer"},
			}},
			"items": object{"type": "array", "items": reference(kind)},
		}}
	}
	s.jobRun, _ = s.components["JobRun"].(object)
	return s, nil
}

// jobTemplate is the component with the schema of a Job template, which is most of the document.
const jobTemplate = "JobTemplate"

// share completes the schema of a CustomResourceDefinition: the Job template becomes a component, and the metadata, which a CRD leaves
// to the API server, gets a schema. Otherwise each client would have a type for each template, and none for a name.
func (s *schemas) share(schema object) error {
	properties, _ := schema["properties"].(object)
	properties["metadata"] = s.of(reflect.TypeFor[ObjectMeta]())
	spec, _ := properties["spec"].(object)
	fields, _ := spec["properties"].(object)
	template, ok := fields["template"].(object)
	if !ok {
		return errors.New("spec has no template")
	}
	described := object{"allOf": []any{reference(jobTemplate)}, "description": template["description"]}
	template = maps.Clone(template)
	delete(template, "description")
	if other, known := s.components[jobTemplate]; known && !reflect.DeepEqual(other, template) {
		return errors.New("spec.template differs from that of the other CRD")
	}
	s.components[jobTemplate], fields["template"] = template, described
	return nil
}

// ObjectMeta is what the document says about the metadata of an object. The answers may have more.
type ObjectMeta struct {
	Name              string            `json:"name" doc:"The name of the object, unique in its namespace."`
	Namespace         string            `json:"namespace" doc:"The namespace of the object."`
	UID               string            `json:"uid" doc:"The identity of the object. An object that is created later under the same name has another one."`
	ResourceVersion   string            `json:"resourceVersion,omitempty" doc:"The version of the object. It changes with each write."`
	Generation        int64             `json:"generation,omitempty" doc:"How often the spec was written."`
	CreationTimestamp *metav1.Time      `json:"creationTimestamp,omitempty" doc:"When the object was created."`
	DeletionTimestamp *metav1.Time      `json:"deletionTimestamp,omitempty" doc:"When the deletion of the object was asked for."`
	Labels            map[string]string `json:"labels,omitempty" doc:"The labels of the object."`
	Annotations       map[string]string `json:"annotations,omitempty" doc:"The annotations of the object."`
}

// schemaOfCRD returns the schema of the one version of a CustomResourceDefinition, without the extensions of Kubernetes.
func schemaOfCRD(manifest []byte) (object, error) {
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(manifest, &definition); err != nil {
		return nil, err
	}
	text, err := json.Marshal(definition.Spec.Versions[0].Schema.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	schema := object{}
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, err
	}
	withoutExtensions(schema)
	return schema, nil
}

func withoutExtensions(value any) {
	switch value := value.(type) {
	case object:
		maps.DeleteFunc(value, func(key string, _ any) bool { return strings.HasPrefix(key, "x-kubernetes-") })
		for _, child := range value {
			withoutExtensions(child)
		}
	case []any:
		for _, child := range value {
			withoutExtensions(child)
		}
	}
}

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

var (
	timeType    = reflect.TypeFor[metav1.Time]()
	anyJSONType = reflect.TypeFor[apiextensionsv1.JSON]()
	// ofCRDs are the types whose schemas the CustomResourceDefinitions have.
	ofCRDs = map[reflect.Type]string{
		reflect.TypeFor[v1alpha1.JobRun]():            "JobRun",
		reflect.TypeFor[v1alpha1.JobRunList]():        "JobRunList",
		reflect.TypeFor[v1alpha1.JobDefinition]():     "JobDefinition",
		reflect.TypeFor[v1alpha1.JobDefinitionList](): "JobDefinitionList",
	}
)

// of returns the schema of a type.
func (s *schemas) of(t reflect.Type) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem())
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t == anyJSONType:
		return object{}
	case ofCRDs[t] != "":
		return reference(ofCRDs[t])
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.component(t)
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	default:
		s.errs = append(s.errs, fmt.Errorf("there is no schema for the type %s", t))
		return object{}
	}
}

// component returns a reference to the schema of a struct, and adds that schema.
func (s *schemas) component(t reflect.Type) object {
	if _, known := s.components[t.Name()]; !known {
		schema := object{"type": "object"}
		s.components[t.Name()] = schema
		properties, required := object{}, []any{}
		s.fields(t, properties, &required)
		schema["properties"] = properties
		if len(required) > 0 {
			schema["required"] = required
		}
	}
	return reference(t.Name())
}

// fields adds the properties of a struct, and of those that it embeds.
func (s *schemas) fields(t reflect.Type, properties object, required *[]any) {
	docs := map[string]string{}
	if typed, ok := reflect.New(t).Interface().(documented); ok {
		docs = typed.SwaggerDoc()
	}
	for field := range fieldsOf(t) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			s.fields(field.Type, properties, required)
			continue
		}
		schema := s.property(t, field, docs[name])
		properties[name] = schema
		if !strings.Contains(options, "omitempty") {
			*required = append(*required, name)
		}
	}
}

// fieldsOf iterates over the fields of a struct.
func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// property returns the schema of one field.
func (s *schemas) property(t reflect.Type, field reflect.StructField, swaggerDoc string) object {
	doc := field.Tag.Get("doc")
	if doc == "" {
		doc = swaggerDoc
	}
	var schema object
	if path := field.Tag.Get("crd"); path != "" {
		if schema = s.ofJobRun(path); schema == nil {
			s.errs = append(s.errs, fmt.Errorf("field %s of %s: JobRun has no %s", field.Name, t, path))
		}
	} else {
		if doc == "" && t != reflect.TypeFor[metav1.TypeMeta]() {
			s.errs = append(s.errs, fmt.Errorf("field %s of %s has no description: it needs the tag doc or crd", field.Name, t))
		}
		schema = s.of(field.Type)
	}
	if doc == "" {
		return schema
	}
	if _, isReference := schema["$ref"]; isReference { // a $ref has no siblings in OpenAPI 3.0
		return object{"allOf": []any{schema}, "description": doc}
	}
	schema = maps.Clone(schema)
	schema["description"] = doc
	return schema
}

// ofJobRun returns the schema of a field of JobRun, or nil.
func (s *schemas) ofJobRun(path string) object {
	schema := s.jobRun
	for _, name := range strings.Split(path, ".") {
		properties, _ := schema["properties"].(object)
		schema, _ = properties[name].(object)
	}
	return schema
}
