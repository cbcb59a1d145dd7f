// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// The hashes were computed by other programs:
//
//	printf 'sync-users\0org_acme' | sha256sum | cut -d' ' -f1 | xxd -r -p | base32 | tr A-Z a-z | cut -c1-32
func TestKeyName(t *testing.T) {
	for name, tc := range map[string]struct{ jobName, key, want string }{
		"plain":                {"sync-users", "org_acme", "4jk6d2f37po4cctt5fw4u2qm4mpwl6g4"},
		"other scripts, emoji": {"sync-users", `клиент/"💥"`, "ndzplotaqmrlj225k6jwzqoib2mfsn4g"},
		"boundary after a":     {"a", "bc", "ic5vi7mtno6tcmmo4n5mq6m6p3f3elw2"},
		"boundary after ab":    {"ab", "c", "nqbs4yy5hgqu3bnp67rrsvdk64a6e3ex"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := v1alpha1.ConcurrencyKeyName(tc.jobName, tc.key); got != "c-"+tc.want {
				t.Errorf("ConcurrencyKeyName(%q, %q) = %q, want %q", tc.jobName, tc.key, got, "c-"+tc.want)
			}
			if got := v1alpha1.IdempotencyKeyName(tc.jobName, tc.key); got != "i-"+tc.want {
				t.Errorf("IdempotencyKeyName(%q, %q) = %q, want %q", tc.jobName, tc.key, got, "i-"+tc.want)
			}
		})
	}
}

func TestKeyNameIsNameAndLabel(t *testing.T) {
	seen := sets.New[string]()
	for _, key := range []string{"k", " ", "a/b", `"`, "K", strings.Repeat("💥", 256)} {
		for _, name := range []string{v1alpha1.ConcurrencyKeyName("j", key), v1alpha1.IdempotencyKeyName("j", key)} {
			if seen.Has(name) {
				t.Errorf("%q names two keys", name)
			}
			seen.Insert(name)
			if errs := append(content.IsDNS1123Subdomain(name), content.IsLabelValue(name)...); len(errs) > 0 {
				t.Errorf("the name %q of key %q: %v", name, key, errs)
			}
		}
	}
}
