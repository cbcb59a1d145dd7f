// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package text

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"invoice", "report", "sync-orders", "sync-users"}
	for word, want := range map[string]string{
		"sync-user":      "sync-users",
		"sync-users-eu":  "sync-users",
		"snyc-users":     "sync-users",
		"sync_orders":    "sync-orders",
		"inv":            "invoice",
		"reprot":         "report",
		"sync-users":     "sync-users",
		"something-else": "invoice",
		"i":              "invoice",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Nearest("x", nil); got != "" {
		t.Errorf("got %q of no names", got)
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 2}, {"same", "same", 0}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
