// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package runkey_test

import (
	"strings"
	"testing"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Different keys have different names. A concurrencyKey may hold the zero byte that separates it from the
// jobName in the hash. A jobName cannot, because it is a DNS label.
func FuzzKeyName(f *testing.F) {
	f.Add("a", "bc", "ab", "c")
	f.Add("a", "\x00b", "a", "b")
	f.Add("a", "b\x00", "a", "b")
	f.Add("a", "\x00\x00", "a", "\x00")
	f.Add("a", "b\x00c", "a-b", "c")
	f.Add("a", "", "a", "\x00")
	f.Fuzz(func(t *testing.T, jobA, keyA, jobB, keyB string) {
		jobA, jobB = strings.ReplaceAll(jobA, "\x00", "-"), strings.ReplaceAll(jobB, "\x00", "-")
		same := jobA == jobB && keyA == keyB
		if got := v1alpha1.ConcurrencyKeyName(jobA, keyA) == v1alpha1.ConcurrencyKeyName(jobB, keyB); got != same {
			t.Errorf("(%q, %q) and (%q, %q): one name %t, one key %t", jobA, keyA, jobB, keyB, got, same)
		}
		if v1alpha1.ConcurrencyKeyName(jobA, keyA) == v1alpha1.IdempotencyKeyName(jobB, keyB) {
			t.Error("a concurrencyKey has the name of an idempotencyKey")
		}
		row := &v1alpha1.RunKeySpec{Kind: v1alpha1.RunKeyConcurrency, JobName: jobA, Key: keyA}
		if got := runkey.Matches(row, v1alpha1.RunKeyConcurrency, jobB, keyB); got != same {
			t.Errorf("(%q, %q) matches (%q, %q): %t", jobA, keyA, jobB, keyB, got)
		}
	})
}
