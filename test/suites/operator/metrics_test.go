// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// counter returns the sum of the series of a counter or histogram in this process, or of those with the label value.
func counter(name, labelValue string) int {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, series := range family.GetMetric() {
			values := []string{""}
			for _, label := range series.GetLabel() {
				values = append(values, label.GetValue())
			}
			if slices.Contains(values, labelValue) {
				sum += series.GetCounter().GetValue() + float64(series.GetHistogram().GetSampleCount())
			}
		}
	}
	return int(sum)
}

// counts returns a function that returns by how much a counter has risen since.
func counts(name, labelValue string) (risen func() int) {
	GinkgoHelper()
	before := counter(name, labelValue)
	return func() int { return counter(name, labelValue) - before }
}

// expirations returns a function that counts the leases that have expired since, with that result or all of them. It
// deletes the leased runs of earlier specs first, because these leave their namespaces behind.
func expirations(result string) (risen func() int) {
	GinkgoHelper()
	var left v1alpha1.JobRunList
	Expect(k8s.List(ctx, &left, client.MatchingFields{"status.phase": string(v1alpha1.PhaseLeased)})).To(Succeed())
	for i := range left.Items {
		if run := &left.Items[i]; run.Namespace != ns {
			Expect(client.IgnoreNotFound(k8s.Delete(ctx, run))).To(Succeed())
		}
	}
	return counts("jobrun_lease_expirations_total", result)
}
