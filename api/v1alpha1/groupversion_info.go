// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the API of JobRun: runs with a key. For each namespace, job and concurrency key, at
// most one run executes and at most one waits.
//
// +kubebuilder:object:generate=true
// +groupName=batch.jobrun.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every type in this package.
	GroupVersion = schema.GroupVersion{Group: "batch.jobrun.dev", Version: "v1alpha1"}

	// SchemeBuilder collects the functions that add these types to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds these types to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &JobRun{}, &JobRunList{}, &RunKey{}, &RunKeyList{}, &JobDefinition{}, &JobDefinitionList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
