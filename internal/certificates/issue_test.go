// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var gatewayNames = IssuerOptions{Service: "jobrun-gateway", Namespace: "jobrun-system"}.dnsNames()

// issuance is the Secret, the ConfigMap and the time of a test.
type issuance struct {
	t *testing.T
	IssueObservation
}

func newIssuance(t *testing.T) *issuance {
	t.Helper()
	i := &issuance{t, IssueObservation{Now: time.Now(), DNSNames: gatewayNames}}
	i.settle()
	return i
}

// decide decides without a change.
func (i *issuance) decide() Issue {
	i.t.Helper()
	d, err := DecideIssue(i.IssueObservation)
	if err != nil {
		i.t.Fatal(err)
	}
	return d
}

// settle does what the Issuer does until nothing is left to do now. It returns the reasons for certificates and for CAs.
func (i *issuance) settle() (reasons []string) {
	i.t.Helper()
	for range 5 {
		d := i.decide()
		data, err := d.make(i.IssueObservation, "jobrun-gateway")
		if err != nil {
			i.t.Fatal(err)
		}
		if data == nil {
			i.Published = d.Roots
			return reasons
		}
		reasons = append(reasons, slices.DeleteFunc([]string{d.Authority, d.Leaf}, func(s string) bool { return s == "" })...)
		i.Secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "gateway"}, Data: data}
		i.Published = data[rootKey]
	}
	i.t.Fatal("it never settles")
	return nil
}

// after lets time pass, and settles.
func (i *issuance) after(d time.Duration) []string {
	i.t.Helper()
	i.Now = i.Now.Add(d)
	return i.settle()
}

func (i *issuance) leaf() []byte { return i.Secret.Data[corev1.TLSCertKey] }

func (i *issuance) roots() int { return len(parseBundle(i.Published)) }

// accepts reports whether a client with these roots accepts the certificate in the Secret, under each name of the Service.
func (i *issuance) accepts(roots []byte) bool {
	i.t.Helper()
	pair, err := tls.X509KeyPair(i.leaf(), i.Secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		i.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	for _, name := range gatewayNames {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: i.Now}); err != nil {
			return false
		}
	}
	return true
}

func TestTheCertificateIsRenewedUnderTheSameCA(t *testing.T) {
	i := newIssuance(t)
	ca, first := i.Published, i.leaf()
	if !i.accepts(ca) || i.roots() != 1 || !slices.Equal(i.Secret.Data[rootKey], ca) {
		t.Fatalf("issued: accepted %t, %d roots", i.accepts(ca), i.roots())
	}
	if reasons := i.after(lifetime / 2); len(reasons) > 0 {
		t.Errorf("half of its lifetime is over: %q", reasons)
	}
	due := i.decide().Again
	if want := renewal(parseBundle(first)[0]); !due.Equal(want) {
		t.Errorf("decides again at %s, want %s", due, want)
	}
	reasons := i.after(due.Sub(i.Now))
	if len(reasons) != 1 || !strings.HasPrefix(reasons[0], "it ends at ") || slices.Equal(i.leaf(), first) || !slices.Equal(i.Published, ca) || !i.accepts(ca) {
		t.Errorf("due: %q, roots changed: %t", reasons, !slices.Equal(i.Published, ca))
	}
}

// A client that reads the ConfigMap, and lags by less than overlap, accepts the certificate at every time.
func TestACAThatIsDueIsReplacedInSteps(t *testing.T) {
	i := newIssuance(t)
	i.Now = renewal(parseBundle(i.Published)[0]).Add(-time.Minute)
	i.settle() // the certificate was due many times
	old := i.Published
	reasons := i.after(time.Minute)
	if len(reasons) != 1 || !strings.HasPrefix(reasons[0], "the CA ends at ") || i.roots() != 2 || !i.accepts(old) || !i.accepts(i.Published) {
		t.Fatalf("due: %q, %d roots", reasons, i.roots())
	}
	both, before := i.Published, i.leaf()
	if again := i.decide().Again; !again.Equal(i.Now.Truncate(time.Second).Add(overlap)) {
		t.Errorf("decides again %s later", again.Sub(i.Now))
	}
	if reasons := i.after(overlap - 2*time.Second); len(reasons) > 0 || !slices.Equal(i.leaf(), before) {
		t.Errorf("before clients had the time to read the new root: %q", reasons)
	}
	if reasons := i.after(2 * time.Second); !slices.Equal(reasons, []string{"the CA is new"}) || !i.accepts(both) || i.accepts(old) || i.roots() != 2 {
		t.Errorf("after it: %q, %d roots", reasons, i.roots())
	}
	if i.after(overlap); i.roots() != 1 || !i.accepts(i.Published) || slices.Equal(i.Published, old) {
		t.Errorf("at last: %d roots", i.roots())
	}
}

// Who deletes the Secret, because its keys leaked, gets another CA at once. Clients trust the old one for overlap only.
func TestALostSecretIsReplacedAtOnce(t *testing.T) {
	i := newIssuance(t)
	i.after(2 * overlap)
	old := i.Published
	i.Secret = nil
	if reasons := i.settle(); len(reasons) != 2 || i.accepts(old) || !i.accepts(i.Published) || i.roots() != 2 {
		t.Fatalf("lost: %q, %d roots", reasons, i.roots())
	}
	if i.after(overlap + time.Second); i.roots() != 1 || !i.accepts(i.Published) {
		t.Errorf("later: %d roots", i.roots())
	}
}

func TestWhatIsSpoiltIsRepaired(t *testing.T) {
	for name, spoil := range map[string]func(*issuance){
		"no ConfigMap":   func(i *issuance) { i.Published = nil },
		"a foreign root": func(i *issuance) { i.Published = newIssuance(i.t).Published },
		"no certificate": func(i *issuance) { i.Secret.Data[corev1.TLSCertKey] = []byte("text") },
		"the key of another": func(i *issuance) {
			i.Secret.Data[corev1.TLSPrivateKeyKey] = newIssuance(i.t).Secret.Data[corev1.TLSPrivateKeyKey]
		},
		"an empty Secret":      func(i *issuance) { i.Secret.Data = nil },
		"a CA without its key": func(i *issuance) { i.Secret.Data[caKey] = []byte("text") },
		"the CA of another":    func(i *issuance) { i.Secret.Data[rootKey] = newIssuance(i.t).Published },
		"a certificate of other names": func(i *issuance) {
			i.DNSNames = []string{"jobrun-gateway.elsewhere.svc"}
			i.settle()
			i.DNSNames = gatewayNames
		},
		"a certificate that ended": func(i *issuance) { i.Now = i.Now.Add(lifetime + time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuance(t)
			i.after(2 * overlap)
			i.Secret.Data = maps.Clone(i.Secret.Data)
			spoil(i)
			i.settle()
			if i.after(overlap + time.Second); i.roots() != 1 || !i.accepts(i.Published) || !slices.Equal(i.Secret.Data[rootKey], i.Published) {
				t.Errorf("%d roots, accepted: %t", i.roots(), i.accepts(i.Published))
			}
		})
	}
}

func TestASecretOfOthersIsLeftAlone(t *testing.T) {
	i := newIssuance(t)
	for name, secret := range map[string]*corev1.Secret{
		"a person":     {Data: map[string][]byte{corev1.TLSCertKey: i.leaf(), corev1.TLSPrivateKeyKey: i.Secret.Data[corev1.TLSPrivateKeyKey]}},
		"cert-manager": {ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"cert-manager.io/certificate-name": "a"}}},
		"a controller": {ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "ExternalSecret", Name: "a", Controller: ptr.To(true)}}}},
	} {
		secret.Name = "gateway"
		i.Secret = secret
		if _, err := DecideIssue(i.IssueObservation); err == nil || !strings.Contains(err.Error(), "Secret gateway belongs to ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
