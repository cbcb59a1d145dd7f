// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/ptr"
)

const dnsName = "jobrun-webhook-service.jobrun-system.svc"

// stored is what a Secret has, with its parsed certificate.
type stored struct {
	data map[string][]byte
	pair *Pair
}

func makePair(t *testing.T, name string) stored {
	t.Helper()
	data, err := newPair(name)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := parsePair(data, name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return stored{data, pair}
}

func secretOf(s stored) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "webhook"}, Data: s.data}
}

// bundleOf is the caBundle of these certificates, in this order.
func bundleOf(t *testing.T, pairs ...stored) []byte {
	t.Helper()
	var bundle []byte
	for _, s := range pairs {
		encoded, err := certutil.EncodeCertificates(s.pair.root)
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, encoded...)
	}
	return bundle
}

// serving is the memory of a replica that has served a certificate for long.
func serving(s stored) Memory {
	since := s.pair.created().Add(-time.Hour)
	return Memory{Served: s.pair, Ready: true, Stored: s.pair, StoredAt: since, TrustedAt: since}
}

func TestDecide(t *testing.T) {
	first, second, elsewhere := makePair(t, dnsName), makePair(t, dnsName), makePair(t, "other.jobrun-system.svc")
	now := second.pair.created()
	with := func(key, value string) stored {
		data := map[string][]byte{}
		for k, v := range first.data {
			data[k] = v
		}
		data[key] = []byte(value)
		return stored{data: data}
	}
	// The replica has seen the second certificate in the Secret since now, and its root in all caBundles.
	sees := func(m Memory) Memory {
		m.Stored, m.StoredAt, m.TrustedAt = second.pair, now, now
		return m
	}
	one := bundleOf(t, first)
	both := bundleOf(t, second, first)
	tests := map[string]struct {
		at      time.Duration // after now
		secret  *corev1.Secret
		memory  Memory
		bundles [][]byte

		make    string // part of the reason
		serves  *Pair
		ready   bool
		want    [][]byte // nil if the bundles stay
		again   time.Duration
		problem string
	}{
		"nothing exists": {bundles: [][]byte{nil, nil}, make: "the Secret does not exist"},
		"an empty Secret": {
			secret: &corev1.Secret{}, memory: serving(first), bundles: [][]byte{one}, make: "no tls.crt", serves: first.pair, ready: true,
		},
		"no Secret any more: the old certificate is served on": {
			memory: serving(first), bundles: [][]byte{one, one}, make: "the Secret does not exist", serves: first.pair, ready: true,
		},
		"a lost Secret that is younger than the pause": {
			at: pause - time.Second, memory: sees(serving(first)), bundles: [][]byte{both}, serves: first.pair, ready: true, again: pause,
		},
		"a key of another certificate": {
			secret: secretOf(with(corev1.TLSPrivateKeyKey, string(second.data[corev1.TLSPrivateKeyKey]))),
			memory: serving(first), bundles: [][]byte{one}, make: "private key does not match public key", serves: first.pair, ready: true,
		},
		"no certificate, but text": {
			secret: secretOf(with(corev1.TLSCertKey, "text")), memory: serving(first), bundles: [][]byte{one},
			make: "failed to find any PEM data", serves: first.pair, ready: true,
		},
		"another host": {
			secret: secretOf(elsewhere), memory: serving(first), bundles: [][]byte{one},
			make: "not " + dnsName, serves: first.pair, ready: true,
		},
		"an expired certificate": {
			at: lifetime, secret: secretOf(second), bundles: [][]byte{both}, make: "expired",
		},
		"a certificate that is due is used until the new one is stored": {
			at: lifetime * 3 / 4, secret: secretOf(first), memory: serving(first), bundles: [][]byte{one}, make: "it ends at", serves: first.pair, ready: true,
		},
		"a new certificate is trusted first": {
			secret: secretOf(second), memory: serving(first), bundles: [][]byte{one, one, both}, want: [][]byte{both, both, both},
			serves: first.pair, ready: true, again: overlap,
		},
		"a new certificate waits until each API server has read the bundles": {
			at: settleTime - time.Second, secret: secretOf(second), memory: sees(serving(first)), bundles: [][]byte{both, both},
			serves: first.pair, ready: true, again: settleTime,
		},
		"a new certificate is served": {
			at: settleTime, secret: secretOf(second), memory: sees(serving(first)), bundles: [][]byte{both, both},
			serves: second.pair, ready: true, again: overlap,
		},
		"a certificate that is not trusted gives way at once": {
			secret: secretOf(second), memory: serving(first), bundles: [][]byte{bundleOf(t, second)},
			serves: second.pair, ready: true, again: settleTime,
		},
		"the old root goes": {
			at: overlap, secret: secretOf(second), memory: sees(serving(second)),
			bundles: [][]byte{both}, want: [][]byte{bundleOf(t, second)}, serves: second.pair, ready: true, again: lifetime,
		},
		"a bundle that somebody emptied": {
			at: overlap, secret: secretOf(second), memory: sees(serving(second)),
			bundles: [][]byte{nil, bundleOf(t, second)}, want: [][]byte{bundleOf(t, second), bundleOf(t, second)},
			serves: second.pair, ready: true, again: lifetime,
		},
		"a new certificate that this replica sees late waits, because another one may have written the bundles just now": {
			at: time.Minute, secret: secretOf(second), memory: serving(first), bundles: [][]byte{both, both},
			serves: first.pair, ready: true, again: time.Minute + settleTime,
		},
		"a new certificate waits although the write of the bundles took long": {
			at: time.Minute, secret: secretOf(second), memory: Memory{Served: first.pair, Ready: true, Stored: second.pair, StoredAt: now},
			bundles: [][]byte{both, both}, serves: first.pair, ready: true, again: time.Minute + settleTime,
		},
		"an old certificate that takes the place of another overlaps with it": {
			at: 2 * overlap, secret: secretOf(second), memory: serving(first), bundles: [][]byte{one}, want: [][]byte{both},
			serves: first.pair, ready: true, again: 3 * overlap,
		},
		"a replica that starts beside an old certificate is ready at once": {
			at: 48 * time.Hour, secret: secretOf(second), bundles: [][]byte{bundleOf(t, second)},
			serves: second.pair, ready: true, again: 48*time.Hour + overlap,
		},
		"a replica that starts beside a certificate that has just taken the place of another is ready when it has settled": {
			at: 48 * time.Hour, secret: secretOf(second), bundles: [][]byte{bundleOf(t, second), both},
			serves: second.pair, again: 48*time.Hour + settleTime,
		},
		"a replica that starts beside a new certificate is ready when it has settled": {
			at: settledAge - time.Second, secret: secretOf(second), bundles: [][]byte{bundleOf(t, second)},
			serves: second.pair, again: settledAge - time.Second + settleTime,
		},
		"a replica that starts before the new certificate is trusted": {
			secret: secretOf(second), bundles: [][]byte{nil}, want: [][]byte{bundleOf(t, second)}, serves: second.pair, again: overlap,
		},
		"there are no webhooks": {
			at: 48 * time.Hour, secret: secretOf(second), serves: second.pair, ready: true, again: 48*time.Hour + overlap,
		},
		"a certificate of cert-manager's is used, and never renewed": {
			at: lifetime * 3 / 4, secret: ofCertManager(secretOf(second)), bundles: [][]byte{bundleOf(t, second)},
			serves: second.pair, ready: true, again: lifetime*3/4 + overlap,
		},
		"a Secret of cert-manager's is not overwritten": {
			secret: ofCertManager(&corev1.Secret{}), memory: serving(first), bundles: [][]byte{one}, serves: first.pair, ready: true,
			problem: "belongs to cert-manager, so the manager does not write it",
		},
		"a Secret of a controller is not overwritten": {
			secret: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{
				{Kind: "SealedSecret", Name: "ours", Controller: ptr.To(true)},
			}}},
			problem: "belongs to SealedSecret ours",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			at := now.Add(test.at)
			got, err := Decide(Observation{Now: at, DNSName: dnsName, Secret: test.secret, Bundles: test.bundles, Memory: test.memory})
			if problem := text(err); (problem == "") != (test.problem == "") || !strings.Contains(problem, test.problem) {
				t.Errorf("got the error %v, want one with %q", err, test.problem)
			}
			if (got.Make == "") != (test.make == "") || !strings.Contains(got.Make, test.make) {
				t.Errorf("makes a certificate because %q, want %q", got.Make, test.make)
			}
			if !got.Memory.Served.same(test.serves) || got.Memory.Ready != test.ready {
				t.Errorf("serves the right certificate: %t, is ready: %t, want %t", got.Memory.Served.same(test.serves), got.Memory.Ready, test.ready)
			}
			want := test.want
			if want == nil {
				want = test.bundles
			}
			if !slices.EqualFunc(got.Bundles, want, bytes.Equal) {
				t.Errorf("writes the bundles\n%q, want\n%q", got.Bundles, want)
			}
			checkAgain(t, got.Again, now, test.again)
		})
	}
}

// checkAgain compares times. lifetime stands for the renewal.
func checkAgain(t *testing.T, got, now time.Time, want time.Duration) {
	t.Helper()
	switch {
	case want == 0 && !got.IsZero(), want > 0 && want < lifetime && !got.Equal(now.Add(want)),
		want == lifetime && (got.Before(now.Add(lifetime/2)) || got.After(now.Add(lifetime))):
		t.Errorf("decides again at %s, want %s after %s", got, want, now)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func ofCertManager(secret *corev1.Secret) *corev1.Secret {
	secret.Annotations = map[string]string{"cert-manager.io/certificate-name": "jobrun-webhook-cert"}
	return secret
}

// The certificates of others may begin to be valid later than those of newPair do, which says nothing about their age.
func TestDecideDoesNotWaitForTheFuture(t *testing.T) {
	s := makePair(t, dnsName)
	seen := s.pair.created().Add(-backdating / 2)
	d, err := Decide(Observation{Now: seen, DNSName: dnsName, Secret: secretOf(s), Bundles: [][]byte{bundleOf(t, s)}})
	if err != nil || d.Memory.Ready {
		t.Fatalf("ready: %t, %v", d.Memory.Ready, err)
	}
	d, err = Decide(Observation{
		Now: seen.Add(settleTime), DNSName: dnsName, Secret: secretOf(s), Bundles: [][]byte{bundleOf(t, s)}, Memory: d.Memory,
	})
	if err != nil || !d.Memory.Ready {
		t.Errorf("ready: %t, %v", d.Memory.Ready, err)
	}
}
