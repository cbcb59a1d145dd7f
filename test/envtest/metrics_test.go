package envtest

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// counter is the sum of the series of a counter or histogram, or the one that has
// the label value, in this process.
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

// counts remembers a counter's value; the function it returns says by how much
// it rose since.
func counts(name, labelValue string) (risen func() int) {
	GinkgoHelper()
	before := counter(name, labelValue)
	return func() int { return counter(name, labelValue) - before }
}
