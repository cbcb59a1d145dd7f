// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ns is the namespace of the spec, or of its ordered container.
var ns string

// useNamespace creates a namespace, and deletes it after the spec without waiting.
func useNamespace() {
	GinkgoHelper()
	namespace := newNamespace()
	ns = namespace.Name
}

func newNamespace() *corev1.Namespace {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	DeferCleanup(func() { Expect(client.IgnoreNotFound(k8s.Delete(ctx, namespace))).To(Succeed()) })
	return namespace
}

// The report of a failed spec has the objects of its namespace and the logs of the managers.
var _ = JustAfterEach(func() {
	if !CurrentSpecReport().Failed() {
		return
	}
	for _, args := range [][]string{
		{"get", "jobs,pods,runkeys,jobruns", "-o", "wide"},
		{"get", "runkeys,jobruns", "-o", "yaml"},
		{"get", "events", "--sort-by=.metadata.creationTimestamp"},
	} {
		AddReportEntry("objects", clip(try(args...).String()))
	}
	if jobrun == nil {
		return
	}
	for _, m := range jobrun.Managers() {
		AddReportEntry("log", fmt.Sprintf("%s (%s)\n%s", m.Name, m.LogFile, m.LogTail()))
	}
})

// clip shortens a long text, to keep the report readable.
func clip(text string) string {
	const most = 40000
	if len(text) <= most {
		return text
	}
	return text[:most/2] + "\n...\n" + text[len(text)-most/2:]
}
