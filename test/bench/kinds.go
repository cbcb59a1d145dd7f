// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// noopGroup is the API group of JobRuns that the no-op webhook admits.
const noopGroup = "noop.jobrun.dev"

// kinds has the types of a client, which then needs no discovery.
type kinds struct {
	scheme *runtime.Scheme
	mapper meta.RESTMapper
}

var (
	oursScheme = newKinds(v1alpha1.GroupVersion)
	noopScheme = newKinds(schema.GroupVersion{Group: noopGroup, Version: v1alpha1.GroupVersion.Version})
)

// newKinds returns kinds with the types of JobRun in the given group.
func newKinds(jobruns schema.GroupVersion) kinds {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	scheme.AddKnownTypes(jobruns, &v1alpha1.JobRun{}, &v1alpha1.JobRunList{}, &v1alpha1.RunKey{}, &v1alpha1.RunKeyList{},
		&v1alpha1.JobDefinition{}, &v1alpha1.JobDefinitionList{})
	metav1.AddToGroupVersion(scheme, jobruns)

	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"JobRun", "RunKey", "JobDefinition"} {
		mapper.Add(jobruns.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(batchv1.SchemeGroupVersion.WithKind("Job"), meta.RESTScopeNamespace)
	mapper.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	for _, kind := range []string{"Pod", "ServiceAccount", "ConfigMap"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	mapper.Add(rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"), meta.RESTScopeRoot)
	return kinds{scheme, mapper}
}
