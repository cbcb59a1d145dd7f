// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// caKey is the key of a Secret that has the private key of the first certificate in rootKey.
const caKey = "ca.key"

// authority is a CA with its private key.
type authority struct {
	root *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes a CA that is valid for ten years, and returns it as the content of a Secret.
func newAuthority(commonName string, now time.Time) (map[string][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: commonName, NotBefore: now.Add(-backdating)}, key)
	if err != nil {
		return nil, err
	}
	encodedKey, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, err
	}
	encoded, err := certutil.EncodeCertificates(root)
	return map[string][]byte{rootKey: encoded, caKey: encodedKey}, err
}

// parseAuthority reads the CA of a Secret. It returns an error if the CA cannot sign now.
func parseAuthority(data map[string][]byte, now time.Time) (*authority, error) {
	if len(data[rootKey]) == 0 || len(data[caKey]) == 0 {
		return nil, fmt.Errorf("it has no %s or no %s", rootKey, caKey)
	}
	pair, err := tls.X509KeyPair(data[rootKey], data[caKey])
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", rootKey, caKey, err)
	}
	key, signs := pair.PrivateKey.(crypto.Signer)
	if !signs || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is no CA", rootKey)
	}
	if now.After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("the CA ended at %s", pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	return &authority{root: pair.Leaf, key: key}, nil
}

// issue makes a certificate of a server for DNS names, and returns it as the content of a Secret.
func (a *authority) issue(dnsNames []string, now time.Time) (map[string][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	end := now.Add(lifetime)
	if a.root.NotAfter.Before(end) {
		end = a.root.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: dnsNames[0]},
		DNSNames:     dnsNames,
		NotBefore:    now.Add(-backdating),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.root, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	chain, err := certutil.EncodeCertificates(certificate)
	if err != nil {
		return nil, err
	}
	encodedKey, err := keyutil.MarshalPrivateKeyToPEM(key)
	return map[string][]byte{corev1.TLSCertKey: chain, corev1.TLSPrivateKeyKey: encodedKey}, err
}

// parseLeaf reads the certificate of a Secret, and finds its root. It returns an error if a server cannot use it for one of the DNS
// names now.
func parseLeaf(data map[string][]byte, roots []*x509.Certificate, dnsNames []string, now time.Time) (*Pair, error) {
	data = maps.Clone(data)
	encoded, err := certutil.EncodeCertificates(roots...)
	if err != nil {
		return nil, err
	}
	data[rootKey] = encoded
	var pair *Pair
	for _, name := range dnsNames {
		if pair, err = parsePair(data, name, now); err != nil {
			return nil, err
		}
	}
	return pair, nil
}
