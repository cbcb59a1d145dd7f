// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	structuraldefaulting "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	schemaobjectmeta "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	structuralpruning "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/crdserverscheme"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// customKind builds the kind that a CustomResourceDefinition in config/crd/bases defines. It uses the same
// parts as the API server (see customresource_handler.go of apiextensions-apiserver).
func customKind(file string, object client.Object, list client.ObjectList) (*kind, error) {
	crd, err := readCRD(file)
	if err != nil {
		return nil, err
	}
	version := crd.Spec.Versions[0]
	props := &apiextensions.CustomResourceValidation{}
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(version.Schema, props, nil); err != nil {
		return nil, fmt.Errorf("convert the schema of %s: %w", file, err)
	}
	structural, err := structuralschema.NewStructural(props.OpenAPIV3Schema)
	if err != nil {
		return nil, fmt.Errorf("the schema of %s is not structural: %w", file, err)
	}
	if err := structuraldefaulting.PruneDefaults(structural); err != nil {
		return nil, fmt.Errorf("prune the defaults of %s: %w", file, err)
	}
	validator, _, err := validation.NewSchemaValidator(props.OpenAPIV3Schema)
	if err != nil {
		return nil, fmt.Errorf("compile the schema of %s: %w", file, err)
	}

	gvk := schema.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind}
	k := &kind{
		gvk:       gvk,
		resource:  schema.GroupResource{Group: crd.Spec.Group, Resource: crd.Spec.Names.Plural},
		custom:    true,
		newObject: newOf(object),
		newList:   newOf(list),
		newStored: func() runtime.Object {
			u := &unstructured.Unstructured{}
			u.SetGroupVersionKind(gvk)
			return u
		},
		decode: func(body []byte) (runtime.Object, error) { return decodeCustom(body, structural) },
		setDefaults: func(stored *unstructured.Unstructured) {
			structuraldefaulting.Default(stored.Object, structural)
		},
	}

	var hasStatus *apiextensions.CustomResourceSubresourceStatus
	var statusValidator validation.SchemaValidator
	if version.Subresources != nil && version.Subresources.Status != nil {
		hasStatus = &apiextensions.CustomResourceSubresourceStatus{}
		status := props.OpenAPIV3Schema.Properties["status"]
		if statusValidator, _, err = validation.NewSchemaValidator(&status); err != nil {
			return nil, fmt.Errorf("compile the status schema of %s: %w", file, err)
		}
	}
	main := customresource.NewStrategy(crdserverscheme.NewUnstructuredObjectTyper(), true, gvk,
		validator, statusValidator, structural, hasStatus, nil, version.SelectableFields)
	k.main = remembering{strategy: main, memory: newMemory()}
	if hasStatus != nil {
		k.status = remembering{strategy: customresource.NewStatusStrategy(main), memory: newMemory()}
	}
	k.selectable = func(stored runtime.Object) (fields.Set, error) {
		_, set, err := main.GetAttrs(stored)
		return set, err
	}
	k.supportsField = func(field string) error {
		selects := func(f apiextensionsv1.SelectableField) bool { return f.JSONPath == "."+field }
		if objectField(field) || slices.ContainsFunc(version.SelectableFields, selects) {
			return nil
		}
		return fmt.Errorf("field label not supported: %s", field)
	}
	return k, nil
}

// decodeCustom decodes the body of a request as the API server does before it calls the registry: it
// coerces metadata, prunes unknown fields and nulls, and sets defaults.
func decodeCustom(body []byte, structural *structuralschema.Structural) (runtime.Object, error) {
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(body, &u.Object); err != nil {
		return nil, err
	}
	metadata, found, err := schemaobjectmeta.GetObjectMeta(u.Object, false)
	if err != nil {
		return nil, err
	}
	gvk := u.GroupVersionKind()
	structuralpruning.PruneWithOptions(u.Object, structural, true, structuralschema.UnknownFieldPathOptions{})
	structuraldefaulting.PruneNonNullableNullsWithoutDefaults(u.Object, structural)
	if err := asError(schemaobjectmeta.Coerce(nil, u.Object, structural, false, false)); err != nil {
		return nil, err
	}
	u.SetGroupVersionKind(gvk)
	if found {
		if err := schemaobjectmeta.SetObjectMeta(u.Object, metadata); err != nil {
			return nil, err
		}
	}
	structuraldefaulting.Default(u.Object, structural)
	return u, nil
}

// objectField reports whether objects of every kind can be selected by a field.
func objectField(field string) bool { return field == "metadata.name" || field == "metadata.namespace" }

// asError keeps a nil *field.Error from becoming an error that is not nil.
func asError(err *field.Error) error {
	if err == nil {
		return nil
	}
	return err
}

func readCRD(file string) (*apiextensionsv1.CustomResourceDefinition, error) {
	root, err := checkout.Root()
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(root, "config", "crd", "bases", file))
	if err != nil {
		return nil, fmt.Errorf("read the CustomResourceDefinition (make manifests writes it): %w", err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(raw, crd); err != nil {
		return nil, fmt.Errorf("parse %s: %w", file, err)
	}
	if len(crd.Spec.Versions) != 1 || crd.Spec.Scope != apiextensionsv1.NamespaceScoped {
		return nil, fmt.Errorf("%s: the model serves namespaced definitions with one version", file)
	}
	return crd, nil
}

// remembering is a strategy that remembers the outcomes of validations. Validating an update by the schema
// and CEL takes half a millisecond. Schedules are similar, so most validations occur many times.
type remembering struct {
	strategy
	memory *memory
}

// Validate implements rest.RESTCreateStrategy.
func (r remembering) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	return r.memory.recall(nil, obj, func() field.ErrorList { return r.strategy.Validate(ctx, obj) })
}

// ValidateUpdate implements rest.RESTUpdateStrategy.
func (r remembering) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	return r.memory.recall(old, obj, func() field.ErrorList { return r.strategy.ValidateUpdate(ctx, obj, old) })
}
