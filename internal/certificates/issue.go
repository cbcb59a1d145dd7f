// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// IssueObservation is what a replica knows when it decides about an issued certificate.
type IssueObservation struct {
	Now      time.Time
	DNSNames []string
	// Secret holds the certificate and the CA. It is nil if the Secret does not exist.
	Secret *corev1.Secret
	// Published are the roots that clients read: ca.crt of the ConfigMap.
	Published []byte
}

// Issue is what a replica does about an issued certificate.
type Issue struct {
	// Authority says why a new CA is to be made. It is empty if none is to be made.
	Authority string
	// Leaf says why a new certificate is to be issued. It is empty if none is to be issued.
	Leaf string
	// Roots are the roots that clients are to trust, the one of the CA first. A new CA comes before them.
	Roots []byte
	// Again is when to decide again if nothing changes.
	Again time.Time
}

// DecideIssue decides what a replica does about an issued certificate. It returns an error if only a person can help.
//
// A CA that is due is replaced while clients trust the old one: they read the roots of both for overlap, then the new CA issues a
// certificate, and after another overlap the old root goes. A lost CA is replaced at once, with its certificate.
func DecideIssue(o IssueObservation) (Issue, error) {
	if err := foreign(o.Secret); err != nil {
		return Issue{}, err
	}
	data := map[string][]byte{}
	if o.Secret != nil {
		data = o.Secret.Data
	}
	ca, err := parseAuthority(data, o.Now)
	if err != nil {
		//nolint:nilerr // What is wrong with the CA is why a new one is issued.
		return Issue{Authority: err.Error(), Leaf: "its CA is new", Roots: o.Published, Again: o.Now}, nil
	}
	d := Issue{Again: renewal(ca.root)}
	if !o.Now.Before(d.Again) {
		d.Authority = "the CA ends at " + ca.root.NotAfter.Format(time.RFC3339)
	}
	known := slices.Concat(data[rootKey], o.Published)
	leaf, lack := parseLeaf(data, parseBundle(known), o.DNSNames, o.Now)
	overlaps := true
	if lack != nil {
		d.Leaf = lack.Error()
	} else {
		overlaps = d.renew(o.Now, ca.root, leaf)
	}
	if !overlaps {
		known = nil
	}
	d.Roots, err = withRoot(known, ca.root, true, o.Now)
	return d, err
}

// renew decides when a good certificate is replaced: not before clients had the time to read the root of its CA. It reports whether
// clients are to trust older roots still.
func (d *Issue) renew(now time.Time, root *x509.Certificate, leaf *Pair) (overlaps bool) {
	d.again(leaf.due())
	settled, reason := leaf.created().Add(overlap), ""
	if !leaf.root.Equal(root) {
		settled, reason = created(root).Add(overlap), "the CA is new"
	} else if !now.Before(leaf.due()) {
		reason = "it ends at " + leaf.certificate.Leaf.NotAfter.Format(time.RFC3339)
	}
	if now.Before(settled) {
		d.again(settled)
		return true
	}
	if d.Authority == "" {
		d.Leaf = reason
	}
	return reason != ""
}

// again makes the next decision no later than a time.
func (d *Issue) again(t time.Time) {
	if t.Before(d.Again) {
		d.Again = t
	}
}

// foreign returns an error for a Secret that the manager must not write: one of another controller, or one that a person made.
func foreign(secret *corev1.Secret) error {
	if secret == nil {
		return nil
	}
	owner := ownerOf(secret)
	if owner == "" && len(secret.Data[corev1.TLSCertKey]) > 0 && len(secret.Data[caKey]) == 0 {
		owner = "somebody else, because it has no " + caKey
	}
	if owner == "" {
		return nil
	}
	return fmt.Errorf("the gateway's certificate is not renewed: Secret %s belongs to %s, so the manager does not write it "+
		"(delete it, or start the manager without --gateway-cert-secret-name)", secret.Name, owner)
}

// renewal returns when a certificate is to be renewed: when a third of its lifetime is left.
func renewal(c *x509.Certificate) time.Time { return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3) }

// created returns when newAuthority or issue made a certificate.
func created(c *x509.Certificate) time.Time { return c.NotBefore.Add(backdating) }

// make returns the content of the Secret after a decision, or nil if it stays.
func (d Issue) make(o IssueObservation, commonName string) (map[string][]byte, error) {
	data := map[string][]byte{}
	if o.Secret != nil {
		for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey, rootKey, caKey} {
			data[key] = o.Secret.Data[key]
		}
	}
	if d.Authority == "" && d.Leaf == "" && bytes.Equal(data[rootKey], d.Roots) {
		return nil, nil
	}
	data[rootKey] = d.Roots
	if d.Authority != "" {
		made, err := newAuthority(commonName, o.Now)
		if err != nil {
			return nil, fmt.Errorf("make a CA: %w", err)
		}
		data[caKey] = made[caKey]
		if data[rootKey], err = withRoot(slices.Concat(made[rootKey], d.Roots), parseBundle(made[rootKey])[0], true, o.Now); err != nil {
			return nil, err
		}
	}
	if d.Leaf != "" {
		ca, err := parseAuthority(data, o.Now)
		if err != nil {
			return nil, errors.Join(errors.New("the CA that was made is unusable"), err)
		}
		leaf, err := ca.issue(o.DNSNames, o.Now)
		if err != nil {
			return nil, fmt.Errorf("issue a certificate: %w", err)
		}
		data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey] = leaf[corev1.TLSCertKey], leaf[corev1.TLSPrivateKeyKey]
	}
	return data, nil
}
