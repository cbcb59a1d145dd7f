// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/url"
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
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	runs    = "/v1/namespaces/NS/jobs/sync/runs"
	batches = "/v1/namespaces/NS/batches"
	keyed   = `{"concurrencyKey":"k"}`
)

func stored(name string) *v1alpha1.JobRun {
	GinkgoHelper()
	run := &v1alpha1.JobRun{}
	Expect(k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, run)).To(Succeed())
	return run
}

// jobRuns returns the JobRuns of the spec.
func jobRuns() []v1alpha1.JobRun {
	GinkgoHelper()
	list := &v1alpha1.JobRunList{}
	Expect(k8s.List(ctx, list, client.InNamespace(ns))).To(Succeed())
	return list.Items
}

// waiting triggers a run with the key k, and waits until it reads Pending.
func waiting() string {
	GinkgoHelper()
	name := triggered(gate.send(editor, "POST", runs, keyed), 201).Trigger
	Eventually(func() v1alpha1.Phase { return stored(name).Status.Phase }).Should(Equal(v1alpha1.PhasePending))
	return name
}

// complete ends a run as a worker does: it claims the run, and then reports an output.
func complete(name, output string) {
	GinkgoHelper()
	Eventually(func() error {
		run := stored(name)
		if run.Status.Phase != v1alpha1.PhaseLeased {
			patch := `{"status":{"phase":"Leased","lease":{"holderIdentity":"w","generation":1,"renewTime":"` + time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}}`
			return errors.Join(k8s.Status().Patch(ctx, run, client.RawPatch(types.MergePatchType, []byte(patch))), errors.New("claimed only"))
		}
		patch := fmt.Sprintf(`{"status":{"phase":"Completed","finishedGeneration":%d,"output":%s}}`, run.Status.Lease.Generation, output)
		return k8s.Status().Patch(ctx, run, client.RawPatch(types.MergePatchType, []byte(patch)))
	}).Should(Succeed())
}

var _ = Describe("a trigger", func() {
	It("is a run, which names its caller", func() {
		answer := triggered(gate.send(editor, "POST", runs, `{"input":{"org":"acme"},"labels":{"team":"a"}}`), 201)
		Expect(answer.Disposition).To(Equal(v1alpha1.DispositionCreated))
		Expect(answer.Run).To(Equal(answer.Trigger))
		run := stored(answer.Trigger)
		Expect(run.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationTriggeredBy, "system:serviceaccount:"+ns+":editor"))
		Expect(run.Labels).To(HaveKeyWithValue("team", "a"))
		Expect(string(run.Spec.Input.Raw)).To(Equal(`{"org":"acme"}`))
	})

	It("is absorbed by a waiting run, with a warning", func() {
		first := waiting()
		answer := triggered(gate.send(editor, "POST", runs, `{"concurrencyKey":"k","coalesce":"Skip"}`), 200)
		Expect(answer.Disposition).To(Equal(v1alpha1.DispositionCoalesced))
		Expect(answer.Run).To(Equal(first))
		Expect(answer.Trigger).NotTo(Equal(first))
		Expect(answer.KeyVersion).NotTo(BeEmpty())
		Expect(answer.Warnings).To(ConsistOf(ContainSubstring(first)))
	})

	It("that was delivered before is Idempotent", func() {
		first := triggered(gate.send(editor, "POST", runs, "{}", "Idempotency-Key", "once"), 201)
		answer := triggered(gate.send(editor, "POST", runs, `{"idempotencyKey":"once"}`), 200)
		Expect(answer.Disposition).To(Equal(v1alpha1.DispositionIdempotent))
		Expect(answer.Run).To(Equal(first.Run))
	})

	It("is refused while a run waits, which the causes name", func() {
		first := waiting()
		status := refused(gate.send(editor, "POST", runs, keyed), 409)
		Expect(status.Details.Causes).To(ContainElement(metav1.StatusCause{Type: v1alpha1.CausePendingRun, Field: "spec.concurrencyKey", Message: first}))
	})

	It("waits for the outcome, and its receipt gets the same one", func() {
		first := waiting()
		second := make(chan answer)
		go func() {
			defer GinkgoRecover()
			second <- gate.send(editor, "POST", runs+"?wait=60s", `{"concurrencyKey":"k","coalesce":"Skip"}`)
		}()
		Eventually(jobRuns).Should(HaveLen(2))
		complete(first, `{"users":42}`)
		answer := triggered(<-second, 200)
		Expect(answer.Phase).To(Equal(v1alpha1.PhaseCompleted))
		Expect(answer.Run).To(Equal(first))
		Expect(string(answer.Output.Raw)).To(Equal(`{"users":42}`))
	})

	It("answers when the time is over, with the code of what it became", func() {
		answer := triggered(gate.send(editor, "POST", runs+"?wait=1s", "{}"), 201)
		Expect(answer.Phase).NotTo(Equal(v1alpha1.PhaseCompleted))
	})

	It("stores nothing as a dry run", func() {
		answer := triggered(gate.send(editor, "POST", runs+"?dryRun=All", keyed), 201)
		Expect(k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: answer.Trigger}, &v1alpha1.JobRun{})).NotTo(Succeed())
		triggered(gate.send(editor, "POST", runs, keyed), 201)
	})

	It("of a caller without the right is refused, and takes no key", func() {
		for _, token := range []string{nobody, viewer} {
			refused(gate.send(token, "POST", runs, keyed), 403)
		}
		status := refused(gate.send(editor, "POST", "/v1/namespaces/NS/jobs/secret/runs", keyed), 403)
		Expect(status.Message).To(ContainSubstring(`the verb trigger on jobdefinitions.batch.jobrun.dev "secret"`))
		refused(gate.send(editor, "POST", batches, `{"items":[{"jobName":"sync","concurrencyKey":"k"},{"jobName":"secret"}]}`), 403)
		keys := &v1alpha1.RunKeyList{}
		Expect(k8s.List(ctx, keys, client.InNamespace(ns))).To(Succeed())
		Expect(keys.Items).To(BeEmpty())
	})
})

var _ = Describe("a refusal", func() {
	DescribeTable("is a Status", func(code int, method, path, body, contentType, want string) {
		status := refused(gate.send(editor, method, path, body, "Content-Type", contentType), code)
		Expect(status.Message).To(ContainSubstring(want))
	},
		Entry("of no JSON", 400, "POST", runs, "{", "application/json", "body"),
		Entry("of an unknown field", 400, "POST", runs, `{"concurrencykey":"k"}`, "application/json", "unknown field"),
		Entry("of a page token that is not one", 400, "GET", "/v1/namespaces/NS/runs?continue=x", "", "", "continue"),
		Entry("of a phase that is not one", 404, "GET", "/v1/namespaces/NS/runs/nothing", "", "", "not found"),
		Entry("of a route that is not one", 404, "GET", "/v1/nothing", "", "", "no such route"),
		Entry("of another method", 405, "PATCH", "/v1/namespaces/NS/runs/a", "", "", "PATCH"),
		Entry("of a large body", 413, "POST", runs, `"`+strings.Repeat("x", 300<<10)+`"`, "application/json", "bytes"),
		Entry("of another type", 415, "POST", runs, "a=b", "text/plain", "application/json"),
		Entry("of an empty batch", 422, "POST", batches, `{"items":[]}`, "application/json", "items"),
		Entry("of a bad key", 422, "POST", runs, `{"concurrencyKey":"a\u0007"}`, "application/json", "spec.concurrencyKey"),
	)

	It("is a 401 without a token, or with a bad one", func() {
		refused(gate.send("", "GET", "/v1/whoami", ""), 401)
		refused(gate.send("nonsense", "GET", "/v1/whoami", ""), 401)
		Expect(gate.send(nobody, "GET", "/v1/whoami", "").body).To(ContainSubstring(`"username":"system:serviceaccount:` + ns + `:nobody"`))
	})

	It("is a 403 of a quota, too", func() {
		quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "none"}}
		quota.Spec.Hard = corev1.ResourceList{"count/jobruns.batch.jobrun.dev": resource.MustParse("0")}
		Expect(k8s.Create(ctx, quota)).To(Succeed())
		quota.Status.Hard, quota.Status.Used = quota.Spec.Hard, corev1.ResourceList{"count/jobruns.batch.jobrun.dev": resource.MustParse("0")}
		Expect(k8s.Status().Update(ctx, quota)).To(Succeed())
		Eventually(func() string { return refused(gate.send(editor, "POST", runs, keyed), 403).Message }).Should(ContainSubstring("exceeded quota"))
	})

	It("is a 429 beyond what a caller may have in flight", func() {
		gate := startGateway(func(o *gateway.Options) { o.CallerInFlight = 1 })
		first := make(chan answer)
		go func() {
			defer GinkgoRecover()
			first <- gate.send(editor, "POST", runs+"?wait=20s", keyed)
		}()
		Eventually(jobRuns).Should(HaveLen(1))
		too := gate.send(editor, "GET", "/v1/whoami", "")
		refused(too, 429)
		Expect(too.header.Get("Retry-After")).To(Equal("1"))
		complete(jobRuns()[0].Name, "1")
		triggered(<-first, 201)
	})

	It("is a 503 while the gateway drains, which answers what it has accepted", func() {
		first := make(chan answer)
		go func() {
			defer GinkgoRecover()
			first <- gate.send(editor, "POST", runs+"?wait=60s", keyed)
		}()
		Eventually(jobRuns).Should(HaveLen(1))
		gate.server.Drain()
		triggered(<-first, 201)
		refused(gate.send(editor, "GET", "/v1/whoami", ""), 503)
		refused(gate.send("", "GET", "/readyz", ""), 503)
		gate.stop()
		Eventually(gate.ended).Should(BeClosed())
	})

	It("is a 504 with the name if the answer to a create is lost for good", func() {
		sent := false
		gate := startGateway(func(o *gateway.Options) {
			o.API = interceptor.NewClient(o.API, interceptor.Funcs{
				Create: func(ctx context.Context, api client.WithWatch, object client.Object, options ...client.CreateOption) error {
					if !sent { // The first create is stored once, and no answer ever comes.
						sent = true
						Expect(api.Create(ctx, object.DeepCopyObject().(client.Object), options...)).To(Succeed())
					}
					return &url.Error{Op: "Post", Err: errors.New("EOF")}
				},
			})
		})
		begun := time.Now()
		status := refused(gate.send(editor, "POST", runs, keyed), 504)
		Expect(status.Details.Name).To(HavePrefix("sync-"))
		Expect(time.Since(begun)).To(BeNumerically("<", 10*time.Second))
		Expect(jobRuns()).To(ConsistOf(HaveField("Name", status.Details.Name)))
	})
})

var _ = Describe("many triggers", func() {
	It("take effect together", func() {
		a := gate.send(editor, "POST", batches, `{"items":[{"jobName":"sync","input":1},{"jobName":"sync","input":2}]}`)
		Expect(a.code).To(Equal(201), a.body)
		items := decode[gateway.BatchAnswer](a).Items
		Expect(items).To(HaveLen(2))
		Expect(string(stored(items[1].Trigger).Spec.Input.Raw)).To(Equal("2"))
	})

	It("execute not at all if one is refused, which the causes name", func() {
		waiting()
		status := refused(gate.send(editor, "POST", batches, `{"items":[{"jobName":"sync","input":1},{"jobName":"sync","concurrencyKey":"k"}]}`), 409)
		Expect(status.Details.Causes).To(ContainElement(HaveField("Field", "items[1]")))
		Expect(status.Details.Causes).To(ContainElement(HaveField("Type", v1alpha1.CausePendingRun)))
	})

	It("are answered line by line", func() {
		body := `{"jobName":"sync","concurrencyKey":"l"}` + "\n" + `{"jobName":"secret"}` + "\n{}\n" + `{"jobName":"sync"}` + "\n"
		a := gate.send(editor, "POST", batches, body, "Content-Type", "application/x-ndjson")
		Expect(a.code).To(Equal(200))
		var codes []string
		for line := range strings.SplitSeq(strings.TrimSpace(a.body), "\n") {
			codes = append(codes, line[:len(`{"line":1,"code":201`)])
		}
		Expect(codes).To(Equal([]string{`{"line":1,"code":201`, `{"line":2,"code":403`, `{"line":3,"code":422`, `{"line":4,"code":201`}))
	})
})

var _ = Describe("runs", func() {
	It("are listed, page by page", func() {
		first := waiting()
		triggered(gate.send(editor, "POST", runs, "{}"), 201)
		list := decode[v1alpha1.JobRunList](gate.send(viewer, "GET", "/v1/namespaces/NS/runs?limit=1", ""))
		Expect(list.Items).To(HaveLen(1))
		rest := decode[v1alpha1.JobRunList](gate.send(viewer, "GET", "/v1/namespaces/NS/runs?continue="+url.QueryEscape(list.Continue), ""))
		Expect(rest.Items).To(HaveLen(1))
		only := decode[v1alpha1.JobRunList](gate.send(viewer, "GET", "/v1/namespaces/NS/runs?key=k&jobName=sync&phase=Pending", ""))
		Expect(only.Items).To(HaveLen(1))
		Expect(only.Items[0].Name).To(Equal(first))
		Expect(only.Items[0].ManagedFields).To(BeEmpty())
		Expect(only.ResourceVersion).NotTo(BeEmpty())
		refused(gate.send(viewer, "GET", "/v1/runs", ""), 403)
		refused(gate.send(nobody, "GET", "/v1/namespaces/NS/runs", ""), 403)
		Expect(decode[gateway.NamespaceList](gate.send(viewer, "GET", "/v1/namespaces?limit=500", "")).Items).To(Equal([]string{ns}))
	})

	It("are cancelled, triggered again and deleted by who may", func() {
		name := waiting()
		path := "/v1/namespaces/NS/runs/" + name
		for _, request := range []string{"POST " + path + "/cancel", "POST " + path + "/retrigger", "DELETE " + path} {
			method, path, _ := strings.Cut(request, " ")
			refused(gate.send(viewer, method, path, ""), 403)
		}
		refused(gate.send(editor, "POST", path+"/retrigger", ""), 409)
		Expect(gate.send(editor, "POST", path+"/cancel", "").code).To(Equal(200))
		Eventually(func() v1alpha1.Phase { return decode[v1alpha1.JobRun](gate.send(viewer, "GET", path, "")).Status.Phase }).Should(Equal(v1alpha1.PhaseCancelled))
		again := triggered(gate.send(editor, "POST", path+"/retrigger", ""), 201)
		Expect(stored(again.Trigger).Spec.ConcurrencyKey).To(Equal("k"))
		Expect(stored(again.Trigger).Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationTriggeredBy, "system:serviceaccount:"+ns+":editor"))
		Expect(gate.send(editor, "DELETE", path, "").code).To(Equal(200))
		refused(gate.send(viewer, "GET", path, ""), 404)
	})

	It("show who waits", func() {
		name := waiting()
		keys := decode[gateway.KeyList](gate.send(viewer, "GET", "/v1/namespaces/NS/keys", ""))
		Expect(keys.Items).To(ConsistOf(And(HaveField("ConcurrencyKey", "k"), HaveField("Waiting.Run", name), HaveField("Executing", BeNil()))))
		Expect(gate.send(editor, "GET", "/v1/namespaces/NS/definitions", "").code).To(Equal(200))
	})
})

// Nobody else may name another user, and the gateway's rights are no more than it needs.
var _ = Describe("the gateway's user", func() {
	It("may not create Jobs or write statuses and RunKeys", func() {
		api, err := client.New(controlplane.AsGateway(cp.AdminConfig()), client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		run := stored(waiting())
		Expect(api.Status().Patch(ctx, run, client.RawPatch(types.MergePatchType, []byte(`{"status":{"error":"x"}}`)))).To(MatchError(ContainSubstring("forbidden")))
		keys := &v1alpha1.RunKeyList{}
		Expect(api.List(ctx, keys, client.InNamespace(ns))).To(Succeed())
		Expect(api.Delete(ctx, &keys.Items[0])).To(MatchError(ContainSubstring("forbidden")))
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "hooks"}}
		Expect(api.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(MatchError(ContainSubstring("forbidden")))
		Expect(api.Create(ctx, secret)).To(MatchError(ContainSubstring("forbidden")))
	})

	It("is the only one that may name another user", func() {
		run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: "forged", Annotations: map[string]string{v1alpha1.AnnotationTriggeredBy: "root"},
		}, Spec: v1alpha1.JobRunSpec{JobName: job}}
		Expect(k8s.Create(ctx, run)).To(Succeed())
		Expect(run.Annotations[v1alpha1.AnnotationTriggeredBy]).NotTo(Equal("root"))
	})
})
