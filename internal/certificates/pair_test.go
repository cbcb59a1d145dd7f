// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"encoding/pem"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// cert-manager and earlier versions keep the root beside the chain, not in it.
func TestParsePairFindsTheRoot(t *testing.T) {
	s := makePair(t, dnsName)
	leaf, _ := pem.Decode(s.data[corev1.TLSCertKey])
	beside := maps.Clone(s.data)
	beside[corev1.TLSCertKey] = pem.EncodeToMemory(leaf)
	within := maps.Clone(s.data)
	delete(within, rootKey)
	for name, data := range map[string]map[string][]byte{"beside the chain": beside, "in the chain": within} {
		got, err := parsePair(data, dnsName, s.pair.created())
		if err != nil || !got.root.Equal(s.pair.root) {
			t.Errorf("%s: %v", name, err)
		}
	}
	alone := maps.Clone(beside)
	delete(alone, rootKey)
	if _, err := parsePair(alone, dnsName, s.pair.created()); err != nil {
		t.Errorf("a certificate without a root is its own: %v", err)
	}
}
