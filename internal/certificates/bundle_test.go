// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestWithRoot(t *testing.T) {
	a, b, c := makePair(t, dnsName), makePair(t, dnsName), makePair(t, dnsName)
	now := c.pair.created()
	broken := []byte("y\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
	tests := map[string]struct {
		bundle   []byte
		overlaps bool
		at       time.Duration
		want     []byte
	}{
		"empty":                   {nil, true, 0, bundleOf(t, c)},
		"the same":                {bundleOf(t, c), true, 0, bundleOf(t, c)},
		"others stay":             {bundleOf(t, b, a), true, 0, bundleOf(t, c, b, a)},
		"older ones go":           {bundleOf(t, c, b, a), false, 0, bundleOf(t, c)},
		"repeated":                {bundleOf(t, a, a, c, c), true, 0, bundleOf(t, c, a)},
		"text and a broken block": {slices.Concat([]byte("x\n"), broken, bundleOf(t, a)), true, 0, bundleOf(t, c, a)},
		"expired":                 {bundleOf(t, b, a), true, 2 * lifetime, bundleOf(t, c)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := withRoot(test.bundle, c.pair.root, test.overlaps, now.Add(test.at))
			if err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
			again, err := withRoot(got, c.pair.root, test.overlaps, now.Add(test.at))
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("writes the bundle again: %q, %v", again, err)
			}
		})
	}
}

// A replica that does not know the newest certificate yet keeps its root.
func TestWithRootKeepsNewerRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		oldest := makePair(t, dnsName)
		time.Sleep(time.Hour)
		known := makePair(t, dnsName)
		time.Sleep(time.Hour)
		newest := makePair(t, dnsName)
		got, err := withRoot(bundleOf(t, newest, known, oldest), known.pair.root, false, time.Now())
		if want := bundleOf(t, known, newest); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	})
}

// However often the Secret is lost, a caBundle keeps the newest roots and stays small.
func TestWithRootIsBounded(t *testing.T) {
	var bundle []byte
	for range maxRoots + 2 {
		root := makePair(t, dnsName).pair.root
		var err error
		if bundle, err = withRoot(bundle, root, true, time.Now()); err != nil {
			t.Fatal(err)
		}
		if !trusts(bundle, root) {
			t.Fatal("the newest root is missing")
		}
	}
	if got := len(parseBundle(bundle)); got != maxRoots {
		t.Errorf("the bundle has %d roots, want %d", got, maxRoots)
	}
}
