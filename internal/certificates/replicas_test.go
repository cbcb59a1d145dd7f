// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

const (
	// maxLag bounds how far a replica of the model lags behind: its caches, its looks and its writes.
	maxLag = 10 * time.Second
	// maxMaking bounds the time between the creation of a certificate, which it states, and its way into the Secret.
	maxMaking = 5 * time.Second
	// maxChanges leaves a caBundle with fewer than maxRoots roots.
	maxChanges = maxRoots - 2
	// webhookConfigurations is the number of objects with caBundles. Each has one here.
	webhookConfigurations = 2
)

// version is what an object was from a time on.
type version[T any] struct {
	value T
	since time.Time
}

// object is an object that the API server stores, with its history. Its latest version is the stored one.
type object[T any] []version[T]

func (o object[T]) latest() int { return len(o) - 1 }

// world is a Secret and the webhook configurations, and the replicas that look at them.
type world struct {
	t       *rapid.T
	now     time.Time
	secret  object[*corev1.Secret]
	bundles [webhookConfigurations]object[[]byte]
	changes int
	// replicas have caches of their own.
	replicas []*modelReplica
}

type modelReplica struct {
	memory  Memory
	secret  int // the version in its cache
	bundles [webhookConfigurations]int
	writes  []func() // what it decided, in order
	looked  time.Time
}

// At every instant, each API server trusts what each ready replica serves, if the API server lags by less than settleTime.
func TestReplicasServeWhatIsTrusted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step()
			w.check()
		}
	})
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: time.Now()}
	first := w.makeSecret(2 * overlap)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mustParse(t, first.Data, w.now).root.Raw})
	w.secret = object[*corev1.Secret]{{first, w.now.Add(-2 * overlap)}}
	for i := range w.bundles {
		w.bundles[i] = object[[]byte]{{bundle, w.now.Add(-2 * overlap)}}
	}
	for range 3 {
		r := &modelReplica{}
		w.replicas = append(w.replicas, r)
		w.look(r)
		r.writes = nil
	}
	return w
}

func (w *world) step() {
	r := rapid.SampledFrom(w.replicas).Draw(w.t, "replica")
	switch rapid.SampledFrom([]string{
		"look", "look", "look", "write", "write", "sync the Secret", "sync a configuration", "wait", "wait", "change", "restart", "rest",
	}).Draw(w.t, "step") {
	case "look":
		w.look(r)
	case "write":
		r.write()
	case "sync the Secret":
		r.secret = rapid.IntRange(r.secret, w.secret.latest()).Draw(w.t, "version")
	case "sync a configuration":
		i := rapid.IntRange(0, webhookConfigurations-1).Draw(w.t, "configuration")
		r.bundles[i] = rapid.IntRange(r.bundles[i], w.bundles[i].latest()).Draw(w.t, "version")
	case "wait":
		w.wait(time.Duration(rapid.IntRange(1, 6000).Draw(w.t, "ms")) * time.Millisecond)
	case "change":
		w.change()
	case "restart":
		*r = modelReplica{looked: w.now}
		w.sync(r)
	case "rest":
		w.rest()
	}
}

// wait lets time pass. A replica that lags by maxLag catches up first.
func (w *world) wait(d time.Duration) {
	w.now = w.now.Add(d)
	for _, r := range w.replicas {
		if w.now.Sub(r.looked) > maxLag {
			w.catchUp(r)
		}
	}
}

func (w *world) catchUp(r *modelReplica) {
	r.writeAll()
	w.sync(r)
	w.look(r)
	r.writeAll()
}

// rest lets an hour pass in which nothing changes.
func (w *world) rest() {
	for range 10 {
		for _, r := range w.replicas {
			w.catchUp(r)
		}
		w.now = w.now.Add(settleTime)
		w.check()
	}
	w.now = w.now.Add(overlap)
	for _, r := range w.replicas {
		w.catchUp(r)
	}
}

// change is what people and other programs do to the Secret.
func (w *world) change() {
	if w.changes >= maxChanges {
		return
	}
	switch rapid.SampledFrom([]string{"delete", "empty", "spoil", "store another"}).Draw(w.t, "change") {
	case "delete":
		w.store(nil)
	case "empty":
		w.store(&corev1.Secret{})
	case "spoil":
		w.store(&corev1.Secret{Data: map[string][]byte{corev1.TLSCertKey: []byte("text"), corev1.TLSPrivateKeyKey: []byte("text")}})
	case "store another":
		w.changes++
		w.store(w.makeSecret(time.Duration(rapid.IntRange(0, 100).Draw(w.t, "hours")) * time.Hour))
	}
}

func (w *world) store(secret *corev1.Secret) {
	w.secret = append(w.secret, version[*corev1.Secret]{secret, w.now})
}

func (w *world) sync(r *modelReplica) {
	r.secret = w.secret.latest()
	for i := range r.bundles {
		r.bundles[i] = w.bundles[i].latest()
	}
}

// look decides as Rotator.Reconcile does. A replica that still writes does not look.
func (w *world) look(r *modelReplica) {
	if len(r.writes) > 0 {
		return
	}
	r.looked = w.now
	o := Observation{Now: w.now, DNSName: dnsName, Secret: w.secret[r.secret].value, Memory: r.memory}
	for i, seen := range r.bundles {
		o.Bundles = append(o.Bundles, w.bundles[i][seen].value)
	}
	d, err := Decide(o)
	if err != nil {
		w.t.Fatal(err)
	}
	r.memory = d.Memory
	for i, bundle := range d.Bundles {
		seen := r.bundles[i]
		if bytes.Equal(bundle, o.Bundles[i]) {
			continue
		}
		r.writes = append(r.writes, func() {
			if seen == w.bundles[i].latest() {
				w.bundles[i] = append(w.bundles[i], version[[]byte]{bundle, w.now})
			}
		})
	}
	if seen := r.secret; d.Make != "" {
		age := time.Duration(rapid.Int64Range(0, int64(maxMaking)).Draw(w.t, "age"))
		r.writes = append(r.writes, func() {
			if seen == w.secret.latest() && w.changes < maxChanges {
				w.changes++
				w.store(w.makeSecret(age))
			}
		})
	}
}

func (r *modelReplica) write() {
	if len(r.writes) > 0 {
		r.writes[0]()
		r.writes = r.writes[1:]
	}
}

func (r *modelReplica) writeAll() {
	for len(r.writes) > 0 {
		r.write()
	}
}

// check compares what ready replicas serve with the caBundles of the last settleTime.
func (w *world) check() {
	for i, r := range w.replicas {
		if !r.memory.Ready {
			continue
		}
		for _, configuration := range w.bundles {
			for j, v := range slices.Backward(configuration) {
				if !trusts(v.value, r.memory.Served.root) {
					w.t.Fatalf("replica %d serves a certificate that the caBundle of %s ago does not trust", i, w.now.Sub(v.since))
				}
				if j == 0 || !v.since.After(w.now.Add(-settleTime)) {
					break
				}
			}
		}
	}
}

// makeSecret returns a Secret with a certificate that was created some time ago, quicker than newPair does.
func (w *world) makeSecret(age time.Duration) *corev1.Secret {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: dnsName}, DNSNames: []string{dnsName},
		NotBefore: w.now.Add(-age - backdating), NotAfter: w.now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	return &corev1.Secret{Data: map[string][]byte{
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	}}
}

func mustParse(t *rapid.T, data map[string][]byte, now time.Time) *Pair {
	pair, err := parsePair(data, dnsName, now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
