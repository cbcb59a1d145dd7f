// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// settleTime is how long a replica has seen a root in all caBundles before it serves a certificate of that root. In this
	// time each API server reads the caBundles.
	settleTime = 5 * time.Second
	// settledAge is the least age of a certificate that a replica serves as soon as it starts.
	settledAge = time.Minute
	// overlap is how long the root of an old certificate stays in the caBundles after a replica saw the new certificate.
	overlap = time.Hour
	// pause is the shortest time between two new certificates. It exceeds settleTime, so that each one can be served.
	pause = 2 * settleTime
)

// Observation is what a replica knows when it decides.
type Observation struct {
	Now time.Time
	// DNSName is the name by which the API server calls the webhook.
	DNSName string
	// Secret holds the certificate. It is nil if the Secret does not exist.
	Secret *corev1.Secret
	// Bundles are the caBundles of all webhooks.
	Bundles [][]byte
	// Memory is what the earlier decisions of this process remembered.
	Memory Memory
}

// Memory is what a process remembers from one decision to the next.
type Memory struct {
	// Served is the certificate that this replica serves, or nil.
	Served *Pair
	// Ready reports whether this replica has served a certificate that the API server trusts. It stays true, because no other
	// replica is better off if a caBundle is lost later.
	Ready bool
	// Stored is the last certificate that this replica has seen in the Secret, or nil.
	Stored *Pair
	// StoredAt is when this replica first saw Stored in the Secret.
	StoredAt time.Time
	// TrustedAt is since when this replica has seen the root of Stored in every caBundle. It is zero if one lacks the root.
	TrustedAt time.Time
}

// Decision is what a replica does.
type Decision struct {
	// Memory is what the process remembers.
	Memory Memory
	// Make says why a new certificate is to be made and stored in the Secret. It is empty if none is to be made.
	Make string
	// Bundles are the caBundles to write, in the order of the observed ones. An unchanged one is equal to the observed one.
	Bundles [][]byte
	// Again is when to decide again if nothing changes. It is zero if there is no such time.
	Again time.Time
}

// Decide decides what a replica does about the certificate. It returns an error if only a person can help.
func Decide(o Observation) (Decision, error) {
	d := Decision{Memory: o.Memory, Bundles: o.Bundles}
	stored, lack := storedPair(o)
	owner := ownerOf(o.Secret)
	if stored == nil && owner != "" {
		return d, fmt.Errorf("the webhook has no certificate: Secret %s belongs to %s, so the manager does not write it, and %w "+
			"(repair it there, or name another Secret by --cert-secret-name)", o.Secret.Name, owner, lack)
	}
	if stored != nil {
		if err := d.use(o, stored); err != nil {
			return d, err
		}
		lack = nil
		if owner == "" && !o.Now.Before(stored.due()) {
			lack = fmt.Errorf("it ends at %s", stored.certificate.Leaf.NotAfter.Format(time.RFC3339))
		} else if owner == "" {
			d.again(stored.due())
		}
	}
	if lack == nil {
		return d, nil
	}
	if next := d.Memory.StoredAt.Add(pause); o.Now.Before(next) {
		d.again(next)
		return d, nil
	}
	d.Make = lack.Error()
	return d, nil
}

// storedPair returns the certificate in the Secret, or why there is none.
func storedPair(o Observation) (*Pair, error) {
	if o.Secret == nil {
		return nil, errors.New("the Secret does not exist")
	}
	stored, err := parsePair(o.Secret.Data, o.DNSName, o.Now)
	if err != nil {
		return nil, fmt.Errorf("the Secret is unusable: %w", err)
	}
	return stored, nil
}

// ownerOf returns the controller that a Secret belongs to, or "" if it is none.
func ownerOf(secret *corev1.Secret) string {
	if secret == nil {
		return ""
	}
	if owner := metav1.GetControllerOf(secret); owner != nil {
		return owner.Kind + " " + owner.Name
	}
	for annotation := range secret.Annotations {
		if strings.HasPrefix(annotation, "cert-manager.io/") {
			return "cert-manager"
		}
	}
	return ""
}

// use decides how the stored certificate comes to be trusted and served.
func (d *Decision) use(o Observation, stored *Pair) error {
	m := &d.Memory
	if !m.Stored.same(stored) {
		m.TrustedAt = time.Time{}
		if settledBefore(o, stored) {
			m.TrustedAt = stored.created()
		}
		m.Stored, m.StoredAt = stored, o.Now
	}
	if err := d.trust(o, stored); err != nil {
		return err
	}
	settled := d.settled(o)
	if settled || !m.servesWell(o) {
		m.Served = stored
	}
	m.Ready = m.Ready || settled
	return nil
}

// settled reports whether this replica has seen the root of the stored certificate in all caBundles for settleTime. The time
// counts from the first look that saw all of them, because a caBundle may have got the root just before that look.
func (d *Decision) settled(o Observation) bool {
	m := &d.Memory
	if !allTrust(o.Bundles, m.Stored) {
		m.TrustedAt = time.Time{}
		return false
	}
	if m.TrustedAt.IsZero() {
		m.TrustedAt = o.Now
	}
	end := m.TrustedAt.Add(settleTime)
	if o.Now.Before(end) {
		d.again(end)
		return false
	}
	return true
}

// settledBefore reports whether the root of a certificate settled before this look. CaBundles with several roots say that the
// certificate changed in the last hour.
func settledBefore(o Observation, p *Pair) bool {
	for _, bundle := range o.Bundles {
		if roots := parseBundle(bundle); len(roots) != 1 || !roots[0].Equal(p.root) {
			return false
		}
	}
	return o.Now.Sub(p.created()) >= settledAge
}

// servesWell reports whether the API server accepts the certificate that is served. If not, another one is not worse.
func (m *Memory) servesWell(o Observation) bool {
	return m.Served != nil && !m.Served.expired(o.Now) && allTrust(o.Bundles, m.Served)
}

// trust adds the root of the stored certificate to the caBundles, and removes older ones at their time.
func (d *Decision) trust(o Observation, stored *Pair) error {
	end := d.Memory.StoredAt.Add(overlap)
	overlaps := o.Now.Before(end)
	d.Bundles = make([][]byte, len(o.Bundles))
	for i, bundle := range o.Bundles {
		var err error
		if d.Bundles[i], err = withRoot(bundle, stored.root, overlaps, o.Now); err != nil {
			return err
		}
	}
	if overlaps {
		d.again(end)
	}
	return nil
}

func allTrust(bundles [][]byte, p *Pair) bool {
	for _, bundle := range bundles {
		if !trusts(bundle, p.root) {
			return false
		}
	}
	return true
}

// again makes the next decision no later than a time.
func (d *Decision) again(t time.Time) {
	if d.Again.IsZero() || t.Before(d.Again) {
		d.Again = t
	}
}
