// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

// maxRoots bounds the roots of a caBundle, whatever happens to the Secret. Each takes about 1.2 KiB in each webhook.
const maxRoots = 8

// parseBundle returns the certificates of a caBundle, without repetition. It skips what cannot be parsed.
func parseBundle(bundle []byte) []*x509.Certificate {
	var certificates []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return certificates
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && !contains(certificates, certificate) {
			certificates = append(certificates, certificate)
		}
	}
}

func contains(certificates []*x509.Certificate, certificate *x509.Certificate) bool {
	return slices.ContainsFunc(certificates, certificate.Equal)
}

// trusts reports whether a caBundle has the root.
func trusts(bundle []byte, root *x509.Certificate) bool { return contains(parseBundle(bundle), root) }

// withRoot returns a caBundle with the root as its first certificate. If overlaps, it keeps the other ones that have not
// expired, the newest first, up to maxRoots in all. Otherwise it keeps those that are newer than the root: another replica may
// have made them, and this one does not know yet. It returns the bundle unchanged if it has these certificates already.
func withRoot(bundle []byte, root *x509.Certificate, overlaps bool, now time.Time) ([]byte, error) {
	others := slices.DeleteFunc(parseBundle(bundle), func(c *x509.Certificate) bool {
		return c.Equal(root) || now.After(c.NotAfter) || !overlaps && !c.NotBefore.After(root.NotBefore)
	})
	slices.SortStableFunc(others, func(a, b *x509.Certificate) int { return b.NotBefore.Compare(a.NotBefore) })
	roots := append([]*x509.Certificate{root}, others...)
	roots = roots[:min(len(roots), maxRoots)]
	encoded, err := certutil.EncodeCertificates(roots...)
	if err != nil || bytes.Equal(encoded, bundle) {
		return bundle, err
	}
	return encoded, nil
}
