// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

const (
	hooks = "/v1/hooks/NS/sync/"
	// sharedSecret is what the senders of a spec sign with.
	sharedSecret = "It's a Secret to Everybody"
)

// hub is how GitHub and the type HMAC sign.
func hub(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// standard has the headers of a delivery that follows Standard Webhooks.
func standard(key, id, body string, at time.Time) []string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(id + "." + seconds + "." + body))
	return []string{"webhook-id", id, "webhook-timestamp", seconds, "webhook-signature", "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))}
}

// secretOf stores a Secret for receivers.
func secretOf(name, value string, labels map[string]string) {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels}, StringData: map[string]string{"key": value}}
	Expect(k8s.Create(ctx, secret)).To(Succeed())
}

var forReceivers = map[string]string{v1alpha1.LabelReceiver: v1alpha1.ReceiverSecret}

// receiving defines the job sync with receivers, whose secret is sharedSecret unless they name another one, and waits until the
// gateway knows the last one.
func receiving(receivers ...v1alpha1.JobReceiver) *v1alpha1.JobDefinition {
	GinkgoHelper()
	secretOf("hooks", sharedSecret+"\n", forReceivers)
	for i := range receivers {
		if receivers[i].SecretRef.Name == "" {
			receivers[i].SecretRef = v1alpha1.ReceiverSecretReference{Name: "hooks", Key: "key"}
		}
	}
	receivers = append(receivers, v1alpha1.JobReceiver{
		Name: "last", Type: v1alpha1.ReceiverGitHub, SecretRef: v1alpha1.ReceiverSecretReference{Name: "hooks", Key: "key"},
	})
	definition := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: job}}
	definition.Spec.Receivers = receivers
	Expect(k8s.Create(ctx, definition)).To(Succeed())
	Eventually(func() int { return deliver(gate, "last", "{}", "X-GitHub-Event", "ping").code }).Should(Equal(200))
	return definition
}

// deliver sends a delivery that is signed as GitHub does it, unless headers say otherwise.
func deliver(to *endpoint, receiver, body string, headers ...string) answer {
	GinkgoHelper()
	return to.send("", "POST", hooks+receiver, body, append([]string{"X-Hub-Signature-256", hub(sharedSecret, body)}, headers...)...)
}

// fail ends a run as a worker does: it claims the run, and then reports a failure.
func fail(name string) {
	GinkgoHelper()
	Eventually(func() error {
		run := stored(name)
		if run.Status.Phase != v1alpha1.PhaseLeased {
			patch := `{"status":{"phase":"Leased","lease":{"holderIdentity":"w","generation":1,"renewTime":"` + time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}}`
			return errors.Join(k8s.Status().Patch(ctx, run, client.RawPatch(types.MergePatchType, []byte(patch))), errors.New("claimed only"))
		}
		patch := fmt.Sprintf(`{"status":{"phase":"Failed","finishedGeneration":%d,"error":"no"}}`, run.Status.Lease.Generation)
		return k8s.Status().Patch(ctx, run, client.RawPatch(types.MergePatchType, []byte(patch)))
	}).Should(Succeed())
}

var _ = Describe("a delivery", func() {
	It("of GitHub is a run, which names its receiver", func() {
		receiving(v1alpha1.JobReceiver{
			Name: "push", Type: v1alpha1.ReceiverGitHub, Events: []string{"push"},
			FilterExpression: `body.ref == "refs/heads/main"`, InputExpression: `{"repo": body.repository.full_name, "event": headers["x-github-event"]}`,
		})
		const body = `{"ref":"refs/heads/main","repository":{"full_name":"acme/users"}}`
		answer := triggered(deliver(gate, "push", body, "X-GitHub-Event", "push", "X-GitHub-Delivery", "d1"), 201)
		run := stored(answer.Trigger)
		Expect(run.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationTriggeredBy, "receiver:"+ns+"/sync/push"))
		Expect(run.Labels).To(HaveKeyWithValue(v1alpha1.LabelReceiver, "push"))
		Expect(string(run.Spec.Input.Raw)).To(MatchJSON(`{"repo":"acme/users","event":"push"}`))
		Expect(run.Spec.IdempotencyKey).To(Equal("receiver/push/d1"))
		Expect(run.Spec.IdempotencyRelease).To(Equal(v1alpha1.IdempotencyReleaseOnFailure))
		Expect(run.Spec.IdempotencyTTLSeconds).To(BeEquivalentTo(86400))
		Expect(run.Spec.Admission.Definition.Name).To(Equal(job))

		again := triggered(deliver(gate, "push", body, "X-GitHub-Event", "push", "X-GitHub-Delivery", "d1"), 200)
		Expect(again.Disposition).To(Equal(v1alpha1.DispositionIdempotent))
		Expect(again.Run).To(Equal(answer.Run))
		for event, want := range map[string]string{"ping": "ping", "issues": "the event"} {
			ignored := deliver(gate, "push", body, "X-GitHub-Event", event, "X-GitHub-Delivery", "d2")
			Expect(ignored.code).To(Equal(200), ignored.body)
			Expect(decode[gateway.Ignored](ignored).Ignored).To(HavePrefix(want))
		}
		other := strings.Replace(body, "main", "other", 1)
		Expect(decode[gateway.Ignored](deliver(gate, "push", other, "X-GitHub-Event", "push")).Ignored).To(Equal("filterExpression is false"))
		Expect(jobRuns()).To(HaveLen(2))
	})

	It("that is sent again executes again if its run failed", func() {
		receiving(v1alpha1.JobReceiver{Name: "push", Type: v1alpha1.ReceiverGitHub})
		first := triggered(deliver(gate, "push", "1", "X-GitHub-Delivery", "d1"), 201).Run
		fail(first)
		Eventually(func() int { return deliver(gate, "push", "1", "X-GitHub-Delivery", "d1").code }).Should(Equal(201))
		second := triggered(deliver(gate, "push", "1", "X-GitHub-Delivery", "d1"), 200).Run
		Expect(second).NotTo(Equal(first))
		complete(second, "1")
		Eventually(func() v1alpha1.Phase { return stored(second).Outcome() }).Should(Equal(v1alpha1.PhaseCompleted))
		Expect(triggered(deliver(gate, "push", "1", "X-GitHub-Delivery", "d1"), 200).Run).To(Equal(second))
	})

	It("of GitLab, of Standard Webhooks and of any other sender is a run", func() {
		const key = "a key of sixteen"
		secretOf("encoded", "whsec_"+base64.StdEncoding.EncodeToString([]byte(key)), forReceivers)
		encoded := v1alpha1.ReceiverSecretReference{Name: "encoded", Key: "key"}
		receiving(
			v1alpha1.JobReceiver{Name: "token", Type: v1alpha1.ReceiverGitLab, Events: []string{"Push Hook"}, InputExpression: "{'ref': body.ref, 'user': body.user_username}"},
			v1alpha1.JobReceiver{Name: "signed", Type: v1alpha1.ReceiverGitLab, SecretRef: encoded, InputExpression: "body.object_kind"},
			v1alpha1.JobReceiver{Name: "standard", Type: v1alpha1.ReceiverStandardWebhooks, SecretRef: encoded, Events: []string{"invoice.paid"}, InputExpression: "body.data"},
			v1alpha1.JobReceiver{Name: "other", Type: v1alpha1.ReceiverHMAC, IdempotencyHeader: "X-Id"},
		)
		inputOf := func(a answer) string {
			GinkgoHelper()
			return string(stored(triggered(a, 201).Trigger).Spec.Input.Raw)
		}
		for path, want := range map[string]string{"gitlab_push.json": `{"ref":"refs/heads/master","user":"jsmith"}`} {
			body, err := os.ReadFile("testdata/" + path)
			Expect(err).NotTo(HaveOccurred())
			headers := []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", sharedSecret, "Idempotency-Key", "i1", "X-Gitlab-Event-UUID", "u1"}
			Expect(inputOf(deliver(gate, "token", string(body), headers...))).To(MatchJSON(want))
			triggered(deliver(gate, "token", string(body), headers...), 200)
			refused(deliver(gate, "token", string(body), "X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", "other"), 401)
			headers = append(standard(key, "i2", string(body), time.Now()), "X-Gitlab-Event", "Push Hook", "Idempotency-Key", "i2")
			Expect(inputOf(deliver(gate, "signed", string(body), headers...))).To(Equal(`"push"`))
		}
		const paid, open = `{"type":"invoice.paid","timestamp":"2026-11-30T10:40:25Z","data":{"id":"in_1"}}`, `{"type":"invoice.open","data":{}}`
		Expect(inputOf(deliver(gate, "standard", paid, standard(key, "msg_1", paid, time.Now())...))).To(MatchJSON(`{"id":"in_1"}`))
		triggered(deliver(gate, "standard", paid, standard(key, "msg_1", paid, time.Now())...), 200)
		Expect(decode[gateway.Ignored](deliver(gate, "standard", open, standard(key, "msg_2", open, time.Now())...)).Ignored).To(ContainSubstring("invoice.open"))
		refused(deliver(gate, "standard", paid, standard(key, "msg_3", paid, time.Now().Add(-6*time.Minute))...), 401)
		refused(deliver(gate, "standard", paid, standard(key, "msg_3", paid, time.Now().Add(6*time.Minute))...), 401)

		digits := strings.TrimPrefix(hub(sharedSecret, "[1]"), "sha256=")
		Expect(inputOf(deliver(gate, "other", "[1]", "X-Signature-256", digits, "X-Id", "1"))).To(Equal("[1]"))
		triggered(deliver(gate, "other", "[1]", "X-Signature-256", digits, "X-Id", "1"), 200)
		Expect(refused(deliver(gate, "other", "[1]"), 400).Message).To(ContainSubstring("the header X-Id is missing"))
	})

	It("is signed with the old or the new secret while one replaces the other", func() {
		receiving(v1alpha1.JobReceiver{Name: "push", Type: v1alpha1.ReceiverGitHub})
		rotate := func(value string) {
			patch := client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(`{"stringData":{"key":%q}}`, value)))
			Expect(k8s.Patch(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "hooks"}}, patch)).To(Succeed())
		}
		with := func(secret string) func() int {
			return func() int { return deliver(gate, "push", "1", "X-Hub-Signature-256", hub(secret, "1")).code }
		}
		Expect(with("new")()).To(Equal(401))
		rotate("new\n" + sharedSecret)
		Eventually(with("new")).Should(Equal(201))
		Expect(with(sharedSecret)()).To(Equal(201))
		rotate("new")
		Eventually(with(sharedSecret)).Should(Equal(401))
		Expect(with("new")()).To(Equal(201))
		unlabel := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null}}`))
		Expect(k8s.Patch(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "hooks"}}, unlabel)).To(Succeed())
		Eventually(with("new")).Should(Equal(401))
	})

	It("without the secret is the same 401, whatever there is", func() {
		secretOf("unlabelled", sharedSecret, nil)
		receiving(
			v1alpha1.JobReceiver{Name: "push", Type: v1alpha1.ReceiverGitHub},
			v1alpha1.JobReceiver{Name: "unlabelled", Type: v1alpha1.ReceiverGitHub, SecretRef: v1alpha1.ReceiverSecretReference{Name: "unlabelled", Key: "key"}},
			v1alpha1.JobReceiver{Name: "none", Type: v1alpha1.ReceiverGitHub, SecretRef: v1alpha1.ReceiverSecretReference{Name: "none", Key: "key"}},
		)
		want := deliver(gate, "push", "{}", "X-Hub-Signature-256", hub("other", "{}"))
		refused(want, 401)
		for _, path := range []string{"/v1/hooks/NS/sync/unlabelled", "/v1/hooks/NS/sync/none", "/v1/hooks/NS/sync/nothing", "/v1/hooks/NS/other/push", "/v1/hooks/other/sync/push", "/v1/hooks/NS/SYNC/push"} {
			Expect(gate.send("", "POST", path, "{}", "X-Hub-Signature-256", hub(sharedSecret, "{}")).body).To(Equal(want.body), path)
			Expect(gate.send(editor, "POST", path, "{}").body).To(Equal(want.body), path+" without a signature")
		}
		Expect(jobRuns()).To(BeEmpty())
	})

	It("may be large, and its input may not", func() {
		receiving(
			v1alpha1.JobReceiver{Name: "whole", Type: v1alpha1.ReceiverGitHub},
			v1alpha1.JobReceiver{Name: "part", Type: v1alpha1.ReceiverGitHub, InputExpression: "{'ref': body.ref}"},
			v1alpha1.JobReceiver{Name: "wrong", Type: v1alpha1.ReceiverGitHub, FilterExpression: "body.none.ref == 'a'"},
		)
		large := `{"ref":"main","commits":[` + strings.TrimSuffix(strings.Repeat(`{"id":"0123456789abcdef","added":["a.go","b.go"]},`, 60_000), ",") + `]}`
		Expect(len(large)).To(BeNumerically(">", 2<<20))
		answer := triggered(deliver(gate, "part", large), 201)
		Expect(string(stored(answer.Trigger).Spec.Input.Raw)).To(MatchJSON(`{"ref":"main"}`))
		status := refused(deliver(gate, "whole", large), 413)
		Expect(status.Message).To(ContainSubstring("spec.receivers[whole].inputExpression"))
		Expect(status.Details.Causes).To(ConsistOf(HaveField("Field", "spec.receivers[whole].inputExpression")))
		refused(deliver(gate, "part", strings.Repeat(" ", 25<<20+1)), 413)
		status = refused(deliver(gate, "wrong", "{}"), 422)
		Expect(status.Details.Causes).To(ConsistOf(HaveField("Field", "spec.receivers[wrong].filterExpression")))
		refused(deliver(gate, "whole", "{"), 400)
	})

	// All that GitHub sends can be read. The package has an example, or several, of each event.
	It("has the form of each example of GitHub", func() {
		receiving(v1alpha1.JobReceiver{Name: "all", Type: v1alpha1.ReceiverGitHub, FilterExpression: `has(body.zen) || body.?action.orValue("") == "no such action"`})
		text, err := os.ReadFile(checkout.Path("bin", "webhooks-examples", "node_modules", "@octokit", "webhooks-examples", "api.github.com", "index.json"))
		Expect(err).NotTo(HaveOccurred(), "run `make webhooks-examples`, which installs them")
		var events []struct {
			Name     string
			Examples []json.RawMessage
		}
		Expect(json.Unmarshal(text, &events)).To(Succeed())
		played := 0
		for _, event := range events {
			for _, example := range event.Examples {
				got := deliver(gate, "all", string(example), "X-GitHub-Event", event.Name, "X-GitHub-Delivery", strconv.Itoa(played))
				want := "filterExpression is false"
				if event.Name == "ping" {
					want = "ping"
				}
				Expect(got.code).To(Equal(200), "%s: %s", event.Name, got.body)
				Expect(decode[gateway.Ignored](got).Ignored).To(Equal(want), event.Name)
				form := "payload=" + url.QueryEscape(string(example))
				Expect(deliver(gate, "all", form, "X-GitHub-Event", event.Name, "Content-Type", "application/x-www-form-urlencoded").body).To(Equal(got.body), event.Name)
				played++
			}
		}
		Expect(played).To(BeNumerically(">", 150))
	})

	It("is answered as a trigger is if it cannot be stored", func() {
		definition := receiving(v1alpha1.JobReceiver{Name: "push", Type: v1alpha1.ReceiverGitHub})
		lossy := startGateway(func(o *gateway.Options) {
			o.API = interceptor.NewClient(o.API, interceptor.Funcs{
				Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
					return &url.Error{Op: "Post", Err: errors.New("EOF")}
				},
			})
		})
		Eventually(func() int { return lossy.send("", "GET", "/readyz", "").code }).Should(Equal(200))
		Expect(refused(deliver(lossy, "push", "1"), 504).Details.Name).To(HavePrefix("sync-"))

		keyed := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"defaults":{"concurrencyKey":"k"}}}`))
		Expect(k8s.Patch(ctx, definition, keyed)).To(Succeed())
		Eventually(func() int { return deliver(gate, "push", "1").code }).Should(Equal(409))
		Expect(refused(deliver(gate, "push", "1"), 409).Details.Causes).To(ContainElement(HaveField("Type", v1alpha1.CausePendingRun)))

		quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "none"}}
		quota.Spec.Hard = corev1.ResourceList{"count/jobruns.batch.jobrun.dev": resource.MustParse("0")}
		Expect(k8s.Create(ctx, quota)).To(Succeed())
		quota.Status.Hard, quota.Status.Used = quota.Spec.Hard, corev1.ResourceList{"count/jobruns.batch.jobrun.dev": resource.MustParse("0")}
		Expect(k8s.Status().Update(ctx, quota)).To(Succeed())
		unkeyed := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"defaults":null}}`))
		Expect(k8s.Patch(ctx, definition, unkeyed)).To(Succeed())
		Eventually(func() int { return deliver(gate, "push", "1").code }).Should(Equal(403))
	})

	It("is not taken unless the gateway is told to, and is bounded", func() {
		off := startGateway(func(o *gateway.Options) { o.Receivers = nil })
		Expect(refused(deliver(off, "push", "1"), 404).Message).To(ContainSubstring("--gateway-receivers"))
		full := startGateway(func(o *gateway.Options) { o.CallerInFlight = 0 })
		Eventually(func() int { return full.send("", "GET", "/readyz", "").code }).Should(Equal(200))
		refused(deliver(full, "push", "1"), 429)
		early := startGateway(func(o *gateway.Options) { o.Receivers = &gateway.Receivers{Synced: make(chan struct{})} })
		refused(deliver(early, "push", "1"), 503)
		refused(early.send("", "GET", "/readyz", ""), 503)
		broken := startGateway(func(o *gateway.Options) {
			synced := make(chan struct{})
			close(synced)
			o.Receivers = &gateway.Receivers{Synced: synced} // it has no Reader
		})
		refused(deliver(broken, "push", "1"), 500)
	})

	It("needs a receiver that its author may trigger, with expressions that compile", func() {
		definition := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: job}}
		definition.Spec.Receivers = []v1alpha1.JobReceiver{{
			Name: "push", Type: v1alpha1.ReceiverGitHub, SecretRef: v1alpha1.ReceiverSecretReference{Name: "hooks", Key: "key"},
			FilterExpression: "size(headers)", InputExpression: "sets.contains(body.a, body.b)",
		}}
		err := k8s.Create(ctx, definition)
		Expect(err).To(MatchError(And(ContainSubstring("spec.receivers[0].filterExpression"), ContainSubstring("spec.receivers[0].inputExpression"))))
	})
})
