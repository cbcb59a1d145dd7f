// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

var _ = Describe("Runs of a defined job, through", func() {
	for name, open := range surfaces {
		Describe(name, func() {
			for _, b := range definedBehaviours {
				It(b.name, func() { b.check(surfaceOf{open(k8s, ns)}) })
			}
		})
	}
})

var definedBehaviours = []behaviour{
	{"a trigger is completed, and executes what is defined", func(s surfaceOf) {
		define(func(d *v1alpha1.JobDefinitionSpec) {
			d.Defaults = &v1alpha1.JobRunDefaults{Coalesce: v1alpha1.CoalesceSkip, MaxAttempts: 7}
			d.Template = template(output(`{"n":42}`))
		})
		s.created(request{name: "a", input: `{"org":"acme"}`})
		spec := get("a").Spec
		Expect(spec.Input.Raw).To(MatchJSON(`{"org":"acme","full":false}`))
		Expect(spec.ConcurrencyKey).To(Equal("org_acme"))
		Expect(spec.Coalesce).To(Equal(v1alpha1.CoalesceSkip))
		Expect(spec.MaxAttempts).To(BeEquivalentTo(7))
		Expect(spec.Template).To(BeNil())
		Expect(spec.Admission.Executor).To(Equal(v1alpha1.ExecutorJob))
		Expect(spec.Admission.Definition).To(HaveValue(HaveField("Name", "sync")))
		Expect(s.outcome("a")).To(And(HaveField("Phase", "Complete"), HaveField("Output", MatchJSON(`{"n":42}`))))
		Expect(get("a").Status.Definition).To(Equal(spec.Admission.Definition))
	}},
	{"an input that is wrong in three places is refused, and all three are named", func(s surfaceOf) {
		define(nil)
		s.invalid(request{name: "a", input: `{"full":"yes","days":-1}`}, "spec.input.org", "spec.input.full", "spec.input.days")
	}},
	{"an unknown field of the input is refused", func(s surfaceOf) {
		define(nil)
		s.invalid(request{name: "a", input: `{"org":"acme","orgs":["acme"]}`}, "spec.input.orgs")
	}},
	{"a key other than the definition's is refused", func(s surfaceOf) {
		define(nil)
		s.invalid(request{name: "a", key: "org_other", input: `{"org":"acme"}`}, "spec.concurrencyKey")
		s.created(request{name: "a", key: "org_acme", input: `{"org":"acme"}`})
	}},
	{"a field that is not overridable is refused", func(s surfaceOf) {
		define(func(d *v1alpha1.JobDefinitionSpec) { d.Defaults = &v1alpha1.JobRunDefaults{MaxAttempts: 7} })
		s.invalid(request{name: "a", attempts: 3, input: `{"org":"acme"}`}, "spec.maxAttempts")
	}},
	{"a field that is overridable is the trigger's", func(s surfaceOf) {
		define(func(d *v1alpha1.JobDefinitionSpec) {
			d.Defaults = &v1alpha1.JobRunDefaults{MaxAttempts: 7}
			d.Overridable = []v1alpha1.OverridableField{v1alpha1.OverridableMaxAttempts}
		})
		s.created(request{name: "a", attempts: 3, input: `{"org":"acme"}`})
		Expect(get("a").Spec.MaxAttempts).To(BeEquivalentTo(3))
	}},
	{"a template in trigger and definition is refused", func(s surfaceOf) {
		define(func(d *v1alpha1.JobDefinitionSpec) { d.Template = template(busy) })
		s.invalid(request{name: "a", script: busy, input: `{"org":"acme"}`}, "spec.template")
	}},
	{"a trigger whose key is that of a waiting run is refused", func(s surfaceOf) {
		define(nil)
		s.created(request{name: "a", input: `{"org":"acme"}`})
		s.conflicts(request{name: "b", input: `{"org":"acme"}`}, "a")
		s.created(request{name: "c", input: `{"org":"other"}`})
	}},
	{"a trigger whose key is that of a waiting run coalesces if the definition says Skip", func(s surfaceOf) {
		define(func(d *v1alpha1.JobDefinitionSpec) {
			d.Defaults = &v1alpha1.JobRunDefaults{Coalesce: v1alpha1.CoalesceSkip}
		})
		s.created(request{name: "a", input: `{"org":"acme"}`})
		s.absorbed(request{name: "b", input: `{"org":"acme"}`}, "a")
	}},
	{"a second delivery by the definition's idempotency key executes nothing", func(s surfaceOf) {
		define(func(d *v1alpha1.JobDefinitionSpec) {
			d.ConcurrencyKeyExpression, d.IdempotencyKeyExpression = "", `"request_" + input.org`
		})
		s.created(request{name: "a", input: `{"org":"acme"}`})
		s.answered(request{name: "b", input: `{"org":"acme"}`}, v1alpha1.DispositionIdempotent, "a")
		s.created(request{name: "c", input: `{"org":"other"}`})
		Expect(get("a").Spec.IdempotencyKey).To(Equal("request_acme"))
	}},
	{"a definition that is not ready refuses triggers", func(s surfaceOf) {
		define(nil)
		unready("no such time zone")
		s.invalid(request{name: "a", input: `{"org":"acme"}`}, "spec.jobName")
	}},
	{"a suspended definition answers triggers, and nothing starts", func(s surfaceOf) {
		define(func(d *v1alpha1.JobDefinitionSpec) { d.Suspend, d.Template = new(true), template(busy) })
		s.created(request{name: "a", input: `{"org":"acme"}`})
		s.conflicts(request{name: "b", input: `{"org":"acme"}`}, "a")
		Eventually(func() string { return get("a").Status.Error }).Should(ContainSubstring("JobDefinition sync is suspended"))
		Consistently(jobs).Should(BeEmpty())
		resumed := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "sync"}}
		Expect(k8s.Patch(ctx, resumed, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":false}}`)))).To(Succeed())
		wait("a", v1alpha1.PhaseLeased)
	}},
	{"a user without the right to trigger the job is refused, and leaves no key", func(s surfaceOf) {
		define(nil)
		theirs := surfaceOf{s.as(userWhoTriggers("sync-users"))}
		theirs.created(request{name: "allowed", job: "sync-users"})
		for name, r := range map[string]request{
			"a": {input: `{"org":"acme"}`}, "b": {job: "undefined", key: "k", idempotency: "i"}, "c": {job: "sync-users", key: "k", script: busy},
		} {
			r.name = name
			_, refused := theirs.trigger(r)
			Expect(refused).NotTo(BeNil(), name)
			Expect(refused.forbidden).To(BeTrue(), "%s: %s", name, refused)
		}
		Expect(runs()).To(HaveExactElements(HaveField("Name", "allowed")))
		Expect(keys()).To(BeEmpty())
	}},
	{"an undefined job is for workers, and the answer names the nearest defined job", func(s surfaceOf) {
		define(nil)
		s.created(request{name: "a", job: "sink"})
		Expect(get("a").Spec.Admission).To(HaveValue(And(HaveField("Executor", v1alpha1.ExecutorWorker), HaveField("Definition", BeNil()))))
		Expect(warned.all()).To(ContainElement(And(
			ContainSubstring(`job "sink" has no JobDefinition`), ContainSubstring(`the nearest defined job is "sync"`))))
	}},
}

// Ordered, because it replaces the managers.
var _ = Describe("With --undefined-jobs=Deny, through", Ordered, func() {
	BeforeAll(func() {
		replaceManagers(operator.Replica{Args: []string{"--undefined-jobs=Deny"}})
		DeferCleanup(func() { replaceManagers(operator.Replica{}) })
	})

	for name, open := range surfaces {
		It(name+", a trigger of an undefined job is refused, and those of others are not", func() {
			s := surfaceOf{open(k8s, ns)}
			s.invalid(request{name: "a", key: "k"}, "spec.jobName")
			s.created(request{name: "a", key: "k", script: busy})
			define(nil)
			s.created(request{name: "b", input: `{"org":"acme"}`})
		})
	}
})

// replaceManagers replaces both managers.
func replaceManagers(by operator.Replica) {
	GinkgoHelper()
	before := managers.Managers()
	for range 2 {
		m, err := managers.StartReplica(by)
		Expect(err).NotTo(HaveOccurred())
		Expect(managers.AwaitReady(ctx, m)).To(Succeed())
	}
	for _, m := range before {
		Expect(m.Stop(patience)).To(Succeed())
	}
	managers.Rebalance()
}

// define defines the job "sync": an input with an org, and a key for each org.
func define(change func(*v1alpha1.JobDefinitionSpec)) {
	GinkgoHelper()
	d := &v1alpha1.JobDefinition{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "sync"},
		Spec: v1alpha1.JobDefinitionSpec{
			InputSchema: &v1alpha1.InputSchema{OpenAPIV3Schema: &apiextensionsv1.JSON{Raw: []byte(`{"type":"object","required":["org"],"properties":{
				"org":{"type":"string","maxLength":40},"full":{"type":"boolean","default":false},"days":{"type":"integer","minimum":0}}}`)}},
			ConcurrencyKeyExpression: `"org_" + input.org`,
		},
	}
	if change != nil {
		change(&d.Spec)
	}
	Expect(k8s.Create(ctx, d)).To(Succeed())
}

// unready makes the definition one that is not ready, and waits until all replicas know it. The operator looks at it again only after
// minutes.
func unready(why string) {
	GinkgoHelper()
	d := &v1alpha1.JobDefinition{}
	Eventually(func(g Gomega) {
		g.Expect(k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: "sync"}, d)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.ConditionDefinitionReady)).To(BeTrue())
	}).Should(Succeed())
	meta.SetStatusCondition(&d.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDefinitionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalidSchedule, Message: why,
		ObservedGeneration: d.Generation,
	})
	Expect(k8s.Status().Update(ctx, d)).To(Succeed())
	refused := func() error {
		r := request{name: "probe", input: `{"org":"acme"}`}
		return k8s.Create(ctx, raw{k8s, ns}.object(r), client.DryRunAll)
	}
	Eventually(refused).Should(MatchError(ContainSubstring(why)))
	Consistently(refused).WithTimeout(time.Second).Should(MatchError(ContainSubstring(why)))
}

// userWhoTriggers returns the client of a user who may create JobRuns of one job without a template, and nothing else.
func userWhoTriggers(job string) client.WithWatch {
	GinkgoHelper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "triggers"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"jobruns"}, Verbs: []string{"create"}},
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"jobdefinitions"}, Verbs: []string{v1alpha1.VerbTrigger}, ResourceNames: []string{job}},
	}}
	Expect(k8s.Create(ctx, role)).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "triggers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "newcomer-of-" + ns}},
	})).To(Succeed())
	theirs := rest.CopyConfig(config)
	theirs.Impersonate = rest.ImpersonationConfig{UserName: "newcomer-of-" + ns}
	api, err := client.NewWithWatch(theirs, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	Eventually(func() error {
		return api.Create(ctx, raw{api, ns}.object(request{name: "probe", job: job}), client.DryRunAll)
	}).Should(Succeed())
	return api
}
