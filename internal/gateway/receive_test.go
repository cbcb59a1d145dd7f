// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
	"github.com/jobrun-dev/jobrun/internal/gateway/signature"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

// knownReceivers is a cache of one JobDefinition and of Secrets, in the namespace default.
type knownReceivers struct {
	client.Reader

	definition *v1alpha1.JobDefinition
	secrets    []corev1.Secret
	err        error
}

// Get finds an object by its name.
func (k *knownReceivers) Get(_ context.Context, name types.NamespacedName, into client.Object, _ ...client.GetOption) error {
	if k.err != nil {
		return k.err
	}
	switch into := into.(type) {
	case *v1alpha1.JobDefinition:
		if name.Namespace == "default" && name.Name == k.definition.Name {
			k.definition.DeepCopyInto(into)
			return nil
		}
	case *corev1.Secret:
		for i := range k.secrets {
			if name.Namespace == "default" && name.Name == k.secrets[i].Name {
				k.secrets[i].DeepCopyInto(into)
				return nil
			}
		}
	}
	return apierrors.NewNotFound(corev1.Resource("x"), name.Name)
}

const hookPath = "/v1/hooks/default/sync/"

// receiversOf returns receivers of the job sync. Their secret is "s3cret".
func receiversOf(receivers ...v1alpha1.JobReceiver) *knownReceivers {
	k := &knownReceivers{definition: &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sync", UID: "u", Generation: 1}}}
	for i := range receivers {
		if receivers[i].SecretRef.Name == "" {
			receivers[i].SecretRef = v1alpha1.ReceiverSecretReference{Name: "right", Key: "key"}
		}
	}
	k.definition.Spec.Receivers = receivers
	secret := func(name string, labels map[string]string) {
		k.secrets = append(k.secrets, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: map[string][]byte{
			"key": []byte("s3cret\n"), "empty": nil, "both": []byte("new\ns3cret"), "three": []byte("a\nb\nc"),
		}})
	}
	secret("right", map[string]string{v1alpha1.LabelReceiver: "true"})
	secret("unlabelled", nil)
	secret("mislabelled", map[string]string{v1alpha1.LabelReceiver: "false"})
	return k
}

// taking makes a gateway take deliveries.
func taking(k *knownReceivers) func(*Options) {
	synced := make(chan struct{})
	close(synced)
	return func(o *Options) { o.Receivers = &Receivers{Reader: k, Synced: synced} }
}

func signed(body string) string {
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// deliver sends a delivery that is signed as GitHub does it.
func (g *gate) deliver(receiver, body string, headers ...string) answer {
	g.t.Helper()
	return g.send("POST", hookPath+receiver, body, append([]string{"Authorization", "", "X-Hub-Signature-256", signed(body)}, headers...)...)
}

func TestADeliveryTriggers(t *testing.T) {
	for name, tc := range map[string]struct {
		receiver          v1alpha1.JobReceiver
		body              string
		headers           []string
		input, key, error string
	}{
		"GitHub":              {v1alpha1.JobReceiver{Type: v1alpha1.ReceiverGitHub}, `{"ref": "main"}`, []string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "72d3162e"}, `{"ref":"main"}`, "receiver/r/72d3162e", ""},
		"a form of GitHub":    {v1alpha1.JobReceiver{Type: v1alpha1.ReceiverGitHub}, "payload=" + url.QueryEscape(`{"a": "b&c"}`), []string{"Content-Type", formType, "X-GitHub-Delivery", "1"}, `{"a":"b&c"}`, "receiver/r/1", ""},
		"a header of its own": {v1alpha1.JobReceiver{Type: v1alpha1.ReceiverHMAC, IdempotencyHeader: "X-Id"}, "1", []string{"X-Id", "a b"}, "1", "receiver/r/a b", ""},
		"without an id":       {v1alpha1.JobReceiver{Type: v1alpha1.ReceiverHMAC}, "[1]", nil, "[1]", "", ""},
		"a long id":           {v1alpha1.JobReceiver{Type: v1alpha1.ReceiverHMAC, IdempotencyHeader: "X-Id"}, "1", []string{"X-Id", strings.Repeat("x", 300)}, "1", "receiver/r/sha256:" + sha256Of(strings.Repeat("x", 300)), ""},
		"an input": {
			v1alpha1.JobReceiver{Type: v1alpha1.ReceiverHMAC, InputExpression: `{"a": body.b, "agent": headers["user-agent"]}`},
			`{"b": 9007199254740993}`, []string{"User-Agent", "x"}, `{"a":9007199254740993,"agent":"x"}`, "", "",
		},
		"an event of its": {v1alpha1.JobReceiver{Type: v1alpha1.ReceiverGitHub, Events: []string{"push"}, FilterExpression: "body == 1"}, "1", []string{"X-GitHub-Event", "push"}, "1", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tc.receiver.Name = "r"
			s := admitting(apiserver.Created)
			var sent *v1alpha1.JobRun
			create := s.OnCreate
			s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
				sent = run.DeepCopy()
				return create(run, store)
			}
			answer := newGate(t, s, taking(receiversOf(tc.receiver))).deliver("r", tc.body, tc.headers...)
			if answer.Code != http.StatusCreated || sent == nil {
				t.Fatalf("%d %s", answer.Code, answer.Body)
			}
			if sent.Spec.JobName != "sync" || string(sent.Spec.Input.Raw) != tc.input || sent.Spec.IdempotencyKey != tc.key {
				t.Errorf("input %s, key %q", sent.Spec.Input.Raw, sent.Spec.IdempotencyKey)
			}
			if sent.Labels[v1alpha1.LabelReceiver] != "r" || sent.Annotations[v1alpha1.AnnotationTriggeredBy] != "receiver:default/sync/r" {
				t.Errorf("%v %v", sent.Labels, sent.Annotations)
			}
		})
	}
}

func sha256Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Who does not have the secret learns nothing of what there is.
func TestEveryDeliveryWithoutTheSecretIsTheSame401(t *testing.T) {
	of := func(name, secret, key string) v1alpha1.JobReceiver {
		return v1alpha1.JobReceiver{Name: name, Type: v1alpha1.ReceiverGitHub, SecretRef: v1alpha1.ReceiverSecretReference{Name: secret, Key: key}}
	}
	k := receiversOf(of("r", "right", "key"), of("none", "nothing", "key"), of("unlabelled", "unlabelled", "key"), of("mislabelled", "mislabelled", "key"),
		of("no-key", "right", "other"), of("empty", "right", "empty"), of("three", "right", "three"), of("both", "right", "both"))
	var logged bytes.Buffer
	g := newGate(t, admitting(apiserver.Created), taking(k), func(o *Options) {
		o.Log = funcr.New(func(_, line string) { logged.WriteString(line + "\n") }, funcr.Options{})
	})
	if code := g.deliver("both", "1").Code; code != http.StatusCreated {
		t.Fatalf("one of two secrets is right: %d", code)
	}
	want := g.deliver("r", "{", "X-Hub-Signature-256", signed("other"), "X-Request-Id", "id")
	want.wantStatus(http.StatusUnauthorized, metav1.StatusReasonUnauthorized)
	for _, path := range []string{
		hookPath + "r?", hookPath + "other", hookPath + "none", hookPath + "unlabelled", hookPath + "mislabelled", hookPath + "no-key", hookPath + "empty", hookPath + "three",
		"/v1/hooks/default/other/r", "/v1/hooks/other/sync/r", "/v1/hooks/DEFAULT/sync/r", "/v1/hooks/default/s_y/" + strings.Repeat("r", 300),
	} {
		for name, headers := range map[string][]string{
			"right": {"X-Hub-Signature-256", signed("{")}, "wrong": {"X-Hub-Signature-256", "sha256=00"}, "missing": {}, "of another type": {"X-Gitlab-Token", "s3cret"},
		} {
			if name == "right" && path == hookPath+"r?" {
				continue
			}
			got := g.send("POST", path, "{", append([]string{"X-Request-Id", "id", "Authorization", "Bearer ann"}, headers...)...)
			if got.Code != want.Code || got.Body.String() != want.Body.String() || fmt.Sprint(got.Header()) != fmt.Sprint(want.Header()) {
				t.Errorf("%s, %s: %d %s %v", path, name, got.Code, got.Body, got.Header())
			}
		}
	}
	for _, reason := range []string{
		"there is no such receiver", "no signature or token is that of the secret", "there is no Secret nothing with the label", "there is no Secret mislabelled", "Secret right has no key other",
		"key three of Secret right: the value has more than two lines",
	} {
		if !strings.Contains(logged.String(), reason) {
			t.Errorf("the log does not say %q", reason)
		}
	}
	if strings.Contains(logged.String(), "s3cret") {
		t.Error("the log has the secret")
	}
}

func TestADeliveryIsIgnored(t *testing.T) {
	receivers := receiversOf(
		v1alpha1.JobReceiver{Name: "github", Type: v1alpha1.ReceiverGitHub, Events: []string{"push", "ping"}, FilterExpression: "body.ref == 'main'"},
		v1alpha1.JobReceiver{Name: "gitlab", Type: v1alpha1.ReceiverGitLab, Events: []string{"Push Hook"}},
	)
	g := newGate(t, admitting(func(string) *v1alpha1.Admission { panic("a run is created") }), taking(receivers))
	for name, tc := range map[string]struct {
		receiver, body string
		headers        []string
		want           string
	}{
		"ping":              {"github", "not read", []string{"X-GitHub-Event", "ping"}, "ping"},
		"another event":     {"github", "not read", []string{"X-GitHub-Event", "issues"}, `the event \"issues\" is not among the events of receiver github`},
		"no event":          {"github", "not read", nil, `the event \"\" is not among`},
		"filtered":          {"github", `{"ref":"other"}`, []string{"X-GitHub-Event", "push"}, "filterExpression is false"},
		"another of GitLab": {"gitlab", "not read", []string{"X-Gitlab-Token", "s3cret", "X-Gitlab-Event", "Tag Push Hook"}, `the event \"Tag Push Hook\"`},
	} {
		answer := g.deliver(tc.receiver, tc.body, tc.headers...)
		if answer.Code != http.StatusOK || !strings.HasPrefix(answer.Body.String(), `{"ignored":"`+tc.want) {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
}

func TestADeliveryIsRefused(t *testing.T) {
	receivers := receiversOf(
		v1alpha1.JobReceiver{Name: "r", Type: v1alpha1.ReceiverGitHub},
		v1alpha1.JobReceiver{Name: "id", Type: v1alpha1.ReceiverHMAC, IdempotencyHeader: "X-Id"},
		v1alpha1.JobReceiver{Name: "filter", Type: v1alpha1.ReceiverHMAC, FilterExpression: "body.a.b"},
		v1alpha1.JobReceiver{Name: "input", Type: v1alpha1.ReceiverHMAC, InputExpression: "body.a.b"},
		v1alpha1.JobReceiver{Name: "wrong", Type: v1alpha1.ReceiverHMAC, InputExpression: "body."},
	)
	g := newGate(t, admitting(apiserver.Created), taking(receivers))
	form := []string{"Content-Type", formType}
	for name, tc := range map[string]struct {
		receiver, body string
		headers        []string
		code           int
		says           string
	}{
		"no JSON":                  {"r", "{", nil, 400, "the body is not JSON"},
		"no payload":               {"r", "a=b", form, 400, "form without the field payload"},
		"a form that cannot be":    {"r", "payload=%", form, 400, "form"},
		"no id":                    {"id", "1", nil, 400, "the header X-Id is missing"},
		"an unknown parameter":     {"r?a=b", "1", nil, 400, `this route has no parameter "a"`},
		"a filter that fails":      {"filter", "{}", nil, 422, "spec.receivers[filter].filterExpression: Invalid value: cannot be evaluated: no such key: a"},
		"an input that fails":      {"input", "{}", nil, 422, "spec.receivers[input].inputExpression"},
		"an expression that is no": {"wrong", "{}", nil, 422, "spec.receivers[wrong].inputExpression: Invalid value: does not compile"},
		"a large body":             {"r", `"` + strings.Repeat("x", 65536) + `"`, nil, 413, "set spec.receivers[r].inputExpression to take a part of it"},
		"a large input":            {"input", `{"a":{"b":"` + strings.Repeat("x", 65536) + `"}}`, nil, 413, "spec.receivers[input].inputExpression gives an input of more than 65536 bytes"},
		"too many items":           {"r", "[" + strings.Repeat("1,", 1_400_000) + "1]", nil, 413, "too many fields and items"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := g.deliver(tc.receiver, tc.body, tc.headers...)
			if answer.Code != tc.code || !strings.Contains(answer.Body.String(), strings.ReplaceAll(tc.says, `"`, `\"`)) {
				t.Errorf("%d %.500s", answer.Code, answer.Body)
			}
		})
	}
	if g.deliveryBytes.all != 0 || !g.decoding.TryAcquire(maxDecodedBytes) || len(g.deliveries.count) > 0 || len(g.receiverDeliveries.count) > 0 {
		t.Error("something of the deliveries is still counted")
	}
}

func TestDeliveriesAreBounded(t *testing.T) {
	send := func(g *gate, receiver string, body io.Reader, length int64) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, hookPath+receiver, body)
		r.ContentLength = length
		r.Header.Set("X-Signature-256", "00")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w
	}
	endless := func(n int64) io.Reader { return io.LimitReader(zeros{}, n) }
	g := newGate(t, admitting(apiserver.Created), taking(receiversOf(
		v1alpha1.JobReceiver{Name: "r", Type: v1alpha1.ReceiverHMAC}, v1alpha1.JobReceiver{Name: "other", Type: v1alpha1.ReceiverHMAC},
	)))
	for name, tc := range map[string]struct {
		body   io.Reader
		length int64
		code   int
	}{
		"the largest":            {endless(maxDeliveryBytes), maxDeliveryBytes, 401},
		"too large, and so said": {endless(0), maxDeliveryBytes + 1, 413},
		"too large":              {endless(maxDeliveryBytes + 1), -1, 413},
		"broken off":             {io.MultiReader(endless(5), broken{}), 10, 400},
	} {
		if w := send(g, "r", tc.body, tc.length); w.Code != tc.code {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if !g.deliveryBytes.take("/default/sync/r", receiverBytes-1) || !g.deliveryBytes.take("/default/sync/q", receiverBytes) {
		t.Fatal("bytes are still held")
	}
	if w := send(g, "s", endless(2), -1); w.Code != 401 {
		t.Errorf("two receivers have taken the room of all: %d", w.Code)
	}
	if !g.deliveryBytes.take("/default/sync/p", receiverBytes) || !g.deliveryBytes.take("/default/sync/o", maxDeliveriesBytes-3*receiverBytes) {
		t.Fatal("bytes are still held")
	}
	if w := send(g, "r", endless(2), -1); w.Code != 429 {
		t.Errorf("too many bytes for one receiver: %d", w.Code)
	}
	if w := send(g, "other", endless(2), -1); w.Code != 429 {
		t.Errorf("too many bytes for all: %d", w.Code)
	}
	g.deliveryBytes.give("/default/sync/r", receiverBytes-1)
	for range 10 { // CallerInFlight of newGate
		if _, err := g.enterDelivery("/default/sync/r"); err != nil {
			t.Fatal(err)
		}
	}
	if w := send(g, "r", endless(2), -1); w.Code != 429 {
		t.Errorf("too many of one receiver: %d", w.Code)
	}
	if w := send(g, "other", endless(2), -1); w.Code != 401 {
		t.Errorf("another receiver: %d", w.Code)
	}
	for i := range maxDeliveries - 10 {
		if _, err := g.enterDelivery(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if w := send(g, "other", endless(2), -1); w.Code != 429 {
		t.Errorf("too many of all: %d", w.Code)
	}
}

// The bodies of deliveries to what does not exist take no room, though their answers are those of all others.
func TestADeliveryToNobodyIsNotKept(t *testing.T) {
	g := newGate(t, admitting(apiserver.Created), taking(receiversOf(v1alpha1.JobReceiver{Name: "r", Type: v1alpha1.ReceiverHMAC})))
	for name, kept := range map[string]bool{"r": true, "nobody": false} {
		address, ended := "/default/sync/"+name, false
		body := io.MultiReader(io.LimitReader(zeros{}, 22<<20), atEnd(func() {
			ended = true
			if held := g.deliveryBytes.all; kept != (held == 22<<20) || !kept && held != 0 {
				t.Errorf("%s: %d bytes are held", name, held)
			}
			if got := g.deliveryBytes.caller[address]; got != 22<<20 {
				t.Errorf("%s: %d bytes count for the address", name, got)
			}
		}))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, hookPath+name, body)
		r.Header.Set("X-Signature-256", "00")
		w := httptest.NewRecorder()
		if g.ServeHTTP(w, r); w.Code != 401 || !ended || len(g.deliveryBytes.caller) > 0 || g.deliveryBytes.all != 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// A delivery must come at some speed. Once it has come, nothing hurries.
func TestASlowDelivery(t *testing.T) {
	begun := time.Unix(1, 0)
	now, recorded := testingclock.NewFakeClock(begun), &deadlines{ResponseWriter: httptest.NewRecorder()}
	s := &Server{Options: Options{Clock: now}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", io.LimitReader(zeros{}, 4*stepBytes))
	body := s.hurried(recorded, r)
	for range 4 {
		if _, err := io.ReadFull(body, make([]byte, stepBytes)); err != nil {
			t.Fatal(err)
		}
		now.SetTime(now.Now().Add(4 * time.Second))
	}
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	want := []time.Time{begun.Add(5 * time.Second), begun.Add(9 * time.Second), begun.Add(13 * time.Second), begun.Add(15 * time.Second), begun.Add(15 * time.Second), {}}
	if fmt.Sprint(recorded.all) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", recorded.all, want)
	}
}

// deadlines notes the deadlines of reads.
type deadlines struct {
	http.ResponseWriter

	all []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.all = append(d.all, at)
	return nil
}

// atEnd is an empty body that is asked for.
type atEnd func()

func (f atEnd) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}

// broken is a connection that is lost.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestDeliveriesThatCannotBeLookedUp(t *testing.T) {
	s := admitting(apiserver.Created)
	newGate(t, s).deliver("r", "1").wantStatus(http.StatusNotFound, metav1.StatusReasonNotFound)
	lost := receiversOf()
	lost.err = errors.New("the cache is not started")
	newGate(t, s, taking(lost)).deliver("r", "1").wantStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	early := newGate(t, s, func(o *Options) { o.Receivers = &Receivers{Synced: make(chan struct{})} })
	early.deliver("r", "1").wantStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	stopping := newGate(t, s, taking(receiversOf()))
	stopping.Drain()
	stopping.deliver("r", "1").wantStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	full := newGate(t, s, taking(receiversOf(v1alpha1.JobReceiver{Name: "r", Type: v1alpha1.ReceiverGitHub})), func(o *Options) { o.NamespaceInFlight = 0 })
	full.deliver("r", "1").wantStatus(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
}

// Whether a namespace is among those whose receivers take deliveries is nobody's business.
func TestADeliveryToAnotherNamespace(t *testing.T) {
	strict, receivers := &knownReceivers{}, receiversOf(v1alpha1.JobReceiver{Name: "r", Type: v1alpha1.ReceiverGitHub})
	*strict = *receivers
	strict.err = errors.New("unknown namespace for the cache")
	var logged bytes.Buffer
	for in, want := range map[string]int{"default": http.StatusCreated, "other": http.StatusUnauthorized} {
		g := newGate(t, admitting(apiserver.Created), taking(receivers), func(o *Options) {
			o.Log = funcr.New(func(_, line string) { logged.WriteString(line + "\n") }, funcr.Options{})
			o.Receivers.namespaces = []string{in}
			if in == "other" {
				o.Receivers.Reader = strict
			}
		})
		if answer := g.deliver("r", "1"); answer.Code != want {
			t.Errorf("receivers in %s: %d %s", in, answer.Code, answer.Body)
		}
	}
	if strings.Contains(logged.String(), "Cannot look up") {
		t.Error(logged.String())
	}
}

// Receivers that cannot be read keep a gateway from being ready for a while alone: it has other callers.
func TestReadyWithoutReceivers(t *testing.T) {
	now := testingclock.NewFakeClock(time.Now())
	g := newGate(t, admitting(apiserver.Created), func(o *Options) {
		o.Receivers, o.Clock = &Receivers{Synced: make(chan struct{})}, now
	})
	go g.followEvents(t.Context())
	<-g.streams.Synced()
	for _, want := range []int{http.StatusServiceUnavailable, http.StatusOK} {
		if answer := g.send("GET", "/readyz", ""); answer.Code != want {
			t.Errorf("after %s: %d %s", g.Clock.Since(g.started), answer.Code, answer.Body)
		}
		now.Step(receiversPatience)
	}
	g.deliver("r", "1").wantStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
}

// What a gateway has no time for is not the fault of an expression.
func TestAnEvaluationWithoutTime(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	g := newGate(t, admitting(apiserver.Created), taking(receiversOf()))
	delivery, err := definition.NewDelivery([]byte(`{"a":[1,2]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, said := range map[string]v1alpha1.JobReceiver{
		"filter": {FilterExpression: "body.a.all(x, x > 0)"}, "input": {InputExpression: "body.a.map(x, x)"},
	} {
		said.Name = name
		to := &receiver{JobReceiver: &said, of: &v1alpha1.JobDefinition{}}
		if _, err := g.evaluateBy(t.Context(), to, delivery); err != nil {
			t.Errorf("%s, in time: %v", name, err)
		}
		if _, err := g.evaluateBy(over, to, delivery); statusCode(err) != http.StatusServiceUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !g.decoding.TryAcquire(maxDecodedBytes) {
		t.Fatal("something is decoded")
	}
	if _, err := g.awaitDecoding(over, 1); statusCode(err) != http.StatusServiceUnavailable {
		t.Errorf("no room: %v", err)
	}
}

// A delivery whose sender is known has a line in the log of who changed what, and no other one.
func TestAuditOfADelivery(t *testing.T) {
	var logged []string
	g := newGate(t, admitting(apiserver.Created), taking(receiversOf(v1alpha1.JobReceiver{Name: "r", Type: v1alpha1.ReceiverGitHub})), func(o *Options) {
		o.Audit = funcr.New(func(_, line string) { logged = append(logged, line) }, funcr.Options{})
	})
	g.deliver("r", "1", "X-Hub-Signature-256", "sha256=00")
	if len(logged) > 0 {
		t.Fatalf("a stranger has the line %s", logged)
	}
	g.deliver("r", "1")
	want := `"user"="receiver:default/sync/r" "uid"="" "method"="POST" "route"="/v1/hooks/{ns}/{definition}/{receiver}" "namespace"="default" "job"="sync" "run"="" "created"="sync-`
	if len(logged) != 1 || !strings.Contains(logged[0], want) {
		t.Errorf("%s, want %s", logged, want)
	}
	for labels, want := range map[[2]string]float64{{"GitHub", deliveryTriggered}: 1, {"GitHub", deliveryUnauthorized}: 1} {
		if got := g.counted(t, "jobrun_gateway_deliveries_total", labels[0], labels[1]); got != want {
			t.Errorf("%v: %v", labels, got)
		}
	}
}

// counted returns the value of a counter with two labels.
func (g *gate) counted(t *testing.T, name, first, second string) float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			values := map[string]bool{}
			for _, label := range metric.GetLabel() {
				values[label.GetValue()] = true
			}
			if family.GetName() == name && values[first] && values[second] {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestDeliveryID(t *testing.T) {
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	all := header("X-GitHub-Delivery", "github", "Idempotency-Key", "key", "X-Gitlab-Event-UUID", "uuid", "webhook-id", "standard")
	for kind, want := range map[v1alpha1.ReceiverType]string{
		v1alpha1.ReceiverGitHub: "github", v1alpha1.ReceiverGitLab: "standard", v1alpha1.ReceiverStandardWebhooks: "standard", v1alpha1.ReceiverHMAC: "",
	} {
		of := &receiver{JobReceiver: &v1alpha1.JobReceiver{Type: kind}}
		if got, err := deliveryID(of, all); got != want || err != nil {
			t.Errorf("%s: %q, %v", kind, got, err)
		}
		of.IdempotencyHeader = "x-other"
		if _, err := deliveryID(of, all); err == nil {
			t.Errorf("%s: the header is missing", kind)
		}
	}
	of := &receiver{JobReceiver: &v1alpha1.JobReceiver{Type: v1alpha1.ReceiverGitLab}}
	if got, _ := deliveryID(of, header("X-Gitlab-Event-UUID", "uuid", "Idempotency-Key", "key")); got != "key" {
		t.Errorf("GitLab without a signature: %q", got)
	}
	if got, _ := deliveryID(of, header("X-Gitlab-Event-UUID", "uuid")); got != "uuid" {
		t.Errorf("an older GitLab: %q", got)
	}
	if a, b := deliveryKey("r", "a\u0001"), deliveryKey("r", "a\u0002"); a == b || !strings.HasPrefix(a, "receiver/r/sha256:") {
		t.Errorf("%q and %q", a, b)
	}
}

func TestMeasure(t *testing.T) {
	text := `{"a,[{\"": [1, 2, {"b": "c\\"}], "d": {}}`
	for cut := range len(text) {
		size, elements := measure(signature.Body{[]byte(text[:cut]), []byte(text[cut:])})
		if size != int64(len(text)) || elements != 7 {
			t.Errorf("cut at %d: %d bytes, %d elements", cut, size, elements)
		}
	}
}

func TestWhatTheCacheOfReceiversKeeps(t *testing.T) {
	object, err := keepSecrets(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{v1alpha1.LabelReceiver: "true", "b": "c"}, Annotations: map[string]string{"d": "e"}},
		Data:       map[string][]byte{"key": []byte("secret"), "large": make([]byte, 4097)},
	})
	if secret, ok := object.(*corev1.Secret); !ok || err != nil || len(secret.Labels) != 1 || secret.Annotations != nil || len(secret.Data) != 1 {
		t.Errorf("%+v", object)
	}
	d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "a", Generation: 2, Annotations: map[string]string{"d": "e"}}}
	d.Spec.Description, d.Spec.Receivers = "x", []v1alpha1.JobReceiver{{Name: "r"}}
	object, err = keepReceivers(d)
	if kept, ok := object.(*v1alpha1.JobDefinition); !ok || err != nil || kept.Spec.Description != "" || kept.Receiver("r") == nil || kept.Generation != 2 || kept.Annotations != nil {
		t.Errorf("%+v", object)
	}
}
