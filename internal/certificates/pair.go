// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
)

const (
	// rootKey is the key of a Secret that has the root.
	rootKey = "ca.crt"
	// lifetime is how long a new certificate is valid.
	lifetime = 365 * 24 * time.Hour
	// backdating is how long before its creation a new certificate begins to be valid, because clocks differ.
	backdating = time.Hour
)

// Pair is a certificate with its key, and the root that vouches for it.
type Pair struct {
	certificate tls.Certificate
	root        *x509.Certificate
}

// newPair makes the content of a Secret: a certificate for a DNS name, with a root of its own.
func newPair(dnsName string) (map[string][]byte, error) {
	options := certutil.SelfSignedCertKeyOptions{Host: dnsName, MaxAge: lifetime}
	chain, key, err := certutil.GenerateSelfSignedCertKeyWithOptions(options)
	if err != nil {
		return nil, err
	}
	certificates, err := certutil.ParseCertsPEM(chain)
	if err != nil {
		return nil, err
	}
	root, err := certutil.EncodeCertificates(certificates[len(certificates)-1])
	if err != nil {
		return nil, err
	}
	return map[string][]byte{corev1.TLSCertKey: chain, corev1.TLSPrivateKeyKey: key, rootKey: root}, nil
}

// parsePair reads the content of a Secret. It returns an error if a server cannot use it for dnsName now.
func parsePair(data map[string][]byte, dnsName string, now time.Time) (*Pair, error) {
	if len(data[corev1.TLSCertKey]) == 0 || len(data[corev1.TLSPrivateKeyKey]) == 0 {
		return nil, fmt.Errorf("it has no %s or no %s", corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	certificate, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, err
	}
	chain, err := certutil.ParseCertsPEM(data[corev1.TLSCertKey])
	if err != nil {
		return nil, err
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	// cert-manager and earlier versions leave the root out of the chain. Without any root, the last certificate serves as one.
	slices.Reverse(chain)
	var failed error
	for _, root := range append(parseBundle(data[rootKey]), chain...) {
		roots := x509.NewCertPool()
		roots.AddCert(root)
		_, err := certificate.Leaf.Verify(x509.VerifyOptions{
			DNSName: dnsName, Roots: roots, Intermediates: intermediates, CurrentTime: now,
		})
		if err == nil {
			return &Pair{certificate: certificate, root: root}, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// due returns when the certificate is to be renewed: when a third of its lifetime is left.
func (p *Pair) due() time.Time { return renewal(p.certificate.Leaf) }

// created returns when the certificate was made, if newPair made it. The certificates of others may say a later time.
func (p *Pair) created() time.Time { return p.certificate.Leaf.NotBefore.Add(backdating) }

func (p *Pair) expired(now time.Time) bool {
	return now.After(p.certificate.Leaf.NotAfter) || now.After(p.root.NotAfter)
}

// same reports whether both are the same certificate. Both may be nil.
func (p *Pair) same(other *Pair) bool {
	if p == nil || other == nil {
		return p == other
	}
	return bytes.Equal(p.certificate.Leaf.Raw, other.certificate.Leaf.Raw)
}
