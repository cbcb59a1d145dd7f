package model

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	structuraldefaulting "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	structuralpruning "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

func run() *v1alpha1.JobRun {
	return &v1alpha1.JobRun{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch.jobrun.dev/v1alpha1", Kind: "JobRun"},
		ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default", UID: "abcde", ResourceVersion: "12", Generation: 1, Labels: map[string]string{v1alpha1.LabelKey: "x", v1alpha1.LabelJobName: "y"}},
		Spec: v1alpha1.JobRunSpec{JobName: "sync", ConcurrencyKey: "k", Coalesce: "Skip", MaxAttempts: 3,
			Admission: &v1alpha1.Admission{Disposition: "Created", RunName: "a", RunToken: "tttt", Token: "tttt"}},
		Status: v1alpha1.JobRunStatus{Phase: "Pending", RunRef: &v1alpha1.ObjectReference{Name: "a", UID: "abcde"}},
	}
}

func BenchmarkX(b *testing.B) {
	raw, _ := os.ReadFile("../../../config/crd/bases/batch.jobrun.dev_jobruns.yaml")
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(raw, crd); err != nil {
		b.Fatal(err)
	}
	v := crd.Spec.Versions[0]
	in := &apiextensions.CustomResourceValidation{}
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema, in, nil); err != nil {
		b.Fatal(err)
	}
	s, err := structuralschema.NewStructural(in.OpenAPIV3Schema)
	if err != nil {
		b.Fatal(err)
	}
	val, _, err := apiservervalidation.NewSchemaValidator(in.OpenAPIV3Schema)
	if err != nil {
		b.Fatal(err)
	}
	st := in.OpenAPIV3Schema.Properties["status"]
	sval, _, err := apiservervalidation.NewSchemaValidator(&st)
	gvk := v1alpha1.GroupVersion.WithKind("JobRun")
	strat := customresource.NewStrategy(nil, true, gvk, val, sval, s, &apiextensions.CustomResourceSubresourceStatus{}, nil, v.SelectableFields)
	status := customresource.NewStatusStrategy(strat)
	ctx := context.Background()
	r := run()
	js, _ := json.Marshal(r)
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(js, &u.Object); err != nil {
		b.Fatal(err)
	}
	r.Status.Phase = "Leased"
	r.Status.Lease = &v1alpha1.RunLease{HolderIdentity: "h", Generation: 1}
	js2, _ := json.Marshal(r)
	u2 := &unstructured.Unstructured{}
	utiljson.Unmarshal(js2, &u2.Object)
	b.Run("marshal", func(b *testing.B) {
		for b.Loop() {
			json.Marshal(r)
		}
	})
	b.Run("ToUnstructured", func(b *testing.B) {
		for b.Loop() {
			runtime.DefaultUnstructuredConverter.ToUnstructured(r)
		}
	})
	b.Run("unmarshalmap", func(b *testing.B) {
		for b.Loop() {
			m := map[string]any{}
			utiljson.Unmarshal(js2, &m)
		}
	})
	b.Run("unmarshaltyped", func(b *testing.B) {
		for b.Loop() {
			var x v1alpha1.JobRun
			utiljson.Unmarshal(js2, &x)
		}
	})
	b.Run("FromUnstructured", func(b *testing.B) {
		for b.Loop() {
			var x v1alpha1.JobRun
			runtime.DefaultUnstructuredConverter.FromUnstructured(u2.Object, &x)
		}
	})
	b.Run("deepcopy", func(b *testing.B) {
		for b.Loop() {
			u2.DeepCopy()
		}
	})
	b.Run("deepcopytyped", func(b *testing.B) {
		for b.Loop() {
			r.DeepCopy()
		}
	})
	b.Run("prune", func(b *testing.B) {
		for b.Loop() {
			structuralpruning.PruneWithOptions(u2.Object, s, true, structuralschema.UnknownFieldPathOptions{})
			structuraldefaulting.PruneNonNullableNullsWithoutDefaults(u2.Object, s)
			structuraldefaulting.Default(u2.Object, s)
		}
	})
	b.Run("validate", func(b *testing.B) {
		for b.Loop() {
			if errs := strat.Validate(ctx, u); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
	b.Run("validateupdate", func(b *testing.B) {
		for b.Loop() {
			if errs := strat.ValidateUpdate(ctx, u, u); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
	b.Run("validatestatus", func(b *testing.B) {
		for b.Loop() {
			if errs := status.ValidateUpdate(ctx, u2, u); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
}
