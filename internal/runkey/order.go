package runkey

import (
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Older orders JobRuns by creation time, and by name where that ties.
func Older(a, b *v1alpha1.JobRun) bool { return CompareAge(a, b) < 0 }

// CompareAge is negative if a is older than b.
func CompareAge(a, b *v1alpha1.JobRun) int {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	}
	return strings.Compare(a.Name, b.Name)
}
