// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The protocol needs this of the API server's store. It does not need the version in the answer to a create, which is now and then
// wrong with kine (see docs/operations.md). So the versions of what was created are read.
var _ = Describe("The store", func() {
	It("has versions that rise over all objects, also when one is created again", func() {
		last := uint64(0)
		for range 20 {
			configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "a"}}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "a"}}
			for _, object := range []client.Object{configMap, secret} {
				Expect(k8s.Create(ctx, object)).To(Succeed())
				Expect(k8s.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
				Expect(version(object)).To(BeNumerically(">", last))
				last = version(object)
			}
			list := &corev1.SecretList{}
			Expect(k8s.List(ctx, list, client.InNamespace(ns))).To(Succeed())
			Expect(list.Items).To(HaveLen(1), "a list shows what was written before it")
			Expect(number(list.ResourceVersion)).To(BeNumerically(">=", last))
			configMap.Data = map[string]string{"a": "b"}
			Expect(k8s.Update(ctx, configMap)).To(Succeed())
			Expect(version(configMap)).To(BeNumerically(">", last))
			last = version(configMap)
			Expect(k8s.Delete(ctx, configMap)).To(Succeed())
			Expect(k8s.Delete(ctx, secret)).To(Succeed())
		}
	})

	It("refuses a write and a deletion that are based on an older version", func() {
		configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "a"}}
		Expect(k8s.Create(ctx, configMap)).To(Succeed())
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(configMap), configMap)).To(Succeed())
		old := configMap.DeepCopy()
		configMap.Data = map[string]string{"a": "b"}
		Expect(k8s.Update(ctx, configMap)).To(Succeed())
		old.Data = map[string]string{"a": "c"}
		Expect(k8s.Update(ctx, old)).To(MatchError(apierrors.IsConflict, "IsConflict"))
		Expect(k8s.Delete(ctx, old, client.Preconditions{ResourceVersion: &old.ResourceVersion})).To(MatchError(apierrors.IsConflict, "IsConflict"))
		Expect(k8s.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "a"}})).
			To(MatchError(apierrors.IsAlreadyExists, "IsAlreadyExists"))
		Expect(k8s.Delete(ctx, configMap, client.Preconditions{ResourceVersion: &configMap.ResourceVersion})).To(Succeed())
	})
})

func version(object client.Object) uint64 {
	GinkgoHelper()
	return number(object.GetResourceVersion())
}

func number(version string) uint64 {
	GinkgoHelper()
	n, err := strconv.ParseUint(version, 10, 64)
	Expect(err).NotTo(HaveOccurred())
	return n
}
