// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package certificates makes, renews and serves the webhook's certificate (--cert-rotation), and issues that of the gateway.
//
// A Secret holds the certificate, and the caBundle of each webhook holds the roots that the API server trusts. Each replica
// watches both, and serves the certificate from memory. Every change is a compare-and-swap, so replicas need no leader:
// the first one that stores a certificate wins, and the others use what it stored.
//
// A change of certificates refuses no call, because the roots of the old and the new certificate overlap:
//
//  1. A replica stores a new certificate. All replicas still serve the old one.
//  2. A replica adds the new root to each caBundle. The old roots stay.
//  3. Each replica serves the new certificate, once it has seen the new root in every caBundle for settleTime.
//  4. The old roots go when a replica has seen the new certificate for overlap. Until then, a replica that has not seen the
//     new certificate serves one that the API server trusts.
//
// Each certificate has a root of its own, whose key is thrown away. So no stored key can sign another certificate, and a
// lost Secret is replaced in the same way as a certificate that is due.
//
// Not promised: if a caBundle loses the root of the served certificate, the API server refuses calls until a replica has
// put it back. If all replicas end while the Secret is missing, the old certificate is lost with them.
// An API server that lags behind the caBundles by settleTime or more refuses the new certificate until it has read them.
//
// Decide is pure. Rotator observes and acts.
//
// # The gateway's certificate
//
// Issuer does the same for a Service whose Pods mount the Secret (--gateway-cert-secret-name), so that its clients need not learn a
// new root with each certificate: a CA of its own, which lasts ten years, issues the certificates. The Secret has the CA's key. The
// CA is for this one Service: who reads the Secret can make certificates that the clients of the gateway accept, and no others.
// ca.crt of a ConfigMap has the roots to trust. DecideIssue is pure. It changes the CA in steps, as Decide changes a certificate.
package certificates
