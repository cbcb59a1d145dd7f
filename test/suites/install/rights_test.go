// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"testing"

	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// These are the rights that the tests grant.
var (
	createRuns = rbacv1.PolicyRule{
		APIGroups: []string{"batch.jobrun.dev"}, Resources: []string{"jobruns"}, Verbs: []string{"create", "update", "patch", "get"},
	}
	triggerSync = rbacv1.PolicyRule{
		APIGroups: []string{"batch.jobrun.dev"}, Resources: []string{"jobdefinitions"}, ResourceNames: []string{"sync-users"}, Verbs: []string{"trigger"},
	}
	createJobs  = rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"create"}}
	writeDefine = rbacv1.PolicyRule{
		APIGroups: []string{"batch.jobrun.dev"}, Resources: []string{"jobdefinitions"}, Verbs: []string{"create", "update", "patch", "get"},
	}
)

// userWith returns a client of a user who has these rights in a namespace, once the API server knows them.
func (c *cluster) userWith(t *testing.T, team, name string, rules ...rbacv1.PolicyRule) client.Client {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: team, Name: name}
	for _, object := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: team + "-" + name}},
		},
	} {
		if err := c.admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	kubeconfig, err := c.KubeconfigFor(team + "-" + name)
	theirs := as(t, kubeconfig, err)
	NewWithT(t).Eventually(func() error { // the authorizer sees the binding a moment later
		var read client.Object = &v1alpha1.JobRun{}
		if rules[0].Resources[0] == "jobdefinitions" {
			read = &v1alpha1.JobDefinition{}
		}
		return client.IgnoreNotFound(theirs.Get(t.Context(), client.ObjectKey{Namespace: team, Name: "none"}, read))
	}).WithTimeout(patience).Should(Succeed())
	return theirs
}

func aTemplate() *batchv1.JobTemplateSpec {
	return &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "x"}},
	}}}}
}

// The policy asks for the rights while the API server goes on without the webhook, by the emergency exit.
func TestRightsWithoutTheWebhook(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	team := c.newNamespace(t)
	open, _ := documentedExit(t)
	t.Cleanup(func() { _, _ = c.shell("kubectl apply --server-side -f " + c.installer) })
	c.writeCA(t, "of the manager")
	_, err := c.shell(open)
	g.Expect(err).NotTo(HaveOccurred())

	run := func(name, job string, template *batchv1.JobTemplateSpec) *v1alpha1.JobRun {
		r := newRun(name)
		r.Namespace, r.Spec.JobName, r.Spec.Template = team, job, template
		return r
	}
	trigger := c.userWith(t, team, "trigger", createRuns, triggerSync)
	jobs := c.userWith(t, team, "jobs", createRuns, createJobs)
	nothing := c.userWith(t, team, "nothing", createRuns)

	g.Eventually(func() error { return trigger.Create(ctx, run("a", "sync-users", nil)) }).WithTimeout(patience).Should(Succeed())
	g.Expect(jobs.Create(ctx, run("b", "sync-users", aTemplate()))).To(Succeed())

	const addTrigger = "resources: [jobdefinitions], resourceNames: [report], verbs: [trigger]}"
	const addJobs = "this rule of a Role grants it: {apiGroups: [batch], resources: [jobs], verbs: [create]}"
	forbidden := func(rule string) OmegaMatcher {
		return And(Satisfy(apierrors.IsForbidden), MatchError(ContainSubstring(rule)))
	}
	g.Expect(trigger.Create(ctx, run("c", "report", nil))).To(forbidden(addTrigger))
	g.Expect(trigger.Create(ctx, run("c", "report", nil), client.DryRunAll)).To(forbidden(addTrigger))
	g.Expect(trigger.Create(ctx, run("c", "sync-users", aTemplate()))).To(forbidden(addJobs))
	g.Expect(jobs.Create(ctx, run("c", "report", nil))).To(forbidden(addTrigger))
	g.Expect(nothing.Create(ctx, run("c", "report", nil))).To(forbidden(addTrigger))
	g.Expect(nothing.Create(ctx, run("c", "report", aTemplate()))).To(forbidden(addJobs))

	const template = `{"spec": {"template": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "y"}]}}}}}}`
	patch := func(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }
	g.Expect(trigger.Patch(ctx, run("b", "", nil), patch(template))).To(forbidden(addJobs), "another template")
	g.Expect(trigger.Patch(ctx, run("b", "", nil), patch(`{"spec": {"cancel": true}}`))).To(Succeed(), "the template stays")

	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, namespace, "jobrun-controller-manager")
	g.Expect(as(t, kubeconfig, err).Create(ctx, run("of-a-schedule", "report", nil))).To(Succeed(), "the operator is exempt")
}

func TestRightsOfDefinitionsWithoutTheWebhook(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	team := c.newNamespace(t)
	open, _ := documentedExit(t)
	t.Cleanup(func() { _, _ = c.shell("kubectl apply --server-side -f " + c.installer) })
	c.writeCA(t, "of the manager")
	_, err := c.shell(open)
	g.Expect(err).NotTo(HaveOccurred())

	define := func(name string, template *batchv1.JobTemplateSpec) *v1alpha1.JobDefinition {
		return &v1alpha1.JobDefinition{
			ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name},
			Spec:       v1alpha1.JobDefinitionSpec{Description: "Copies users.", Template: template},
		}
	}
	owner := c.userWith(t, team, "owner", writeDefine, createJobs)
	editor := c.userWith(t, team, "editor", writeDefine)
	refused := And(Satisfy(apierrors.IsForbidden), MatchError(ContainSubstring("spec.template needs the verb create on jobs.batch")))

	g.Eventually(func() error { return owner.Create(ctx, define("sync-users", aTemplate())) }).WithTimeout(patience).Should(Succeed())
	g.Expect(editor.Create(ctx, define("report", nil))).To(Succeed())
	g.Expect(editor.Create(ctx, define("other", aTemplate()))).To(refused)
	g.Expect(editor.Create(ctx, &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "empty"}})).To(Succeed(), "no spec")

	patch := func(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }
	image := patch(`{"spec": {"template": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "y"}]}}}}}}`)
	g.Expect(editor.Patch(ctx, define("sync-users", nil), image)).To(refused, "a changed template")
	g.Expect(editor.Patch(ctx, define("report", nil), image)).To(refused, "a new template")
	g.Expect(editor.Patch(ctx, define("sync-users", nil), patch(`{"spec": {"description": "x"}}`))).To(Succeed(), "the template stays")
	g.Expect(editor.Patch(ctx, define("sync-users", nil), patch(`{"spec": {"template": null}}`))).To(Succeed(), "the template goes")
	g.Expect(owner.Patch(ctx, define("report", nil), image)).To(Succeed())
}

// A schedule triggers its job with the operator's rights, and a receiver with the gateway's.
func TestRightsOfSchedulesAndReceiversWithoutTheWebhook(t *testing.T) {
	c, g, ctx := testCluster(t), NewWithT(t), t.Context()
	team := c.newNamespace(t)
	open, _ := documentedExit(t)
	t.Cleanup(func() { _, _ = c.shell("kubectl apply --server-side -f " + c.installer) })
	c.writeCA(t, "of the manager")
	_, err := c.shell(open)
	g.Expect(err).NotTo(HaveOccurred())

	define := func(name string, schedules ...v1alpha1.JobSchedule) *v1alpha1.JobDefinition {
		return &v1alpha1.JobDefinition{
			ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name},
			Spec:       v1alpha1.JobDefinitionSpec{Description: "Copies users.", Schedules: schedules},
		}
	}
	nightly := v1alpha1.JobSchedule{Name: "nightly", Schedule: "@daily", Input: &apiextensionsv1.JSON{Raw: []byte(`{"org": "acme"}`)}}
	owner := c.userWith(t, team, "owner", writeDefine, triggerSync)
	editor := c.userWith(t, team, "editor", writeDefine)
	const rule = `this rule of a Role grants it: {apiGroups: [batch.jobrun.dev], resources: [jobdefinitions], resourceNames: [sync-users], verbs: [trigger]}`
	refused := And(Satisfy(apierrors.IsForbidden), MatchError(ContainSubstring(`writing the schedule "nightly"`)), MatchError(ContainSubstring(rule)))

	g.Eventually(func() error { return owner.Create(ctx, define("sync-users", nightly)) }).WithTimeout(patience).Should(Succeed())
	g.Expect(owner.Create(ctx, define("report", nightly))).To(Satisfy(apierrors.IsForbidden), "another name")

	patch := func(schedules string) error {
		return editor.Patch(ctx, define("sync-users"), client.RawPatch(types.MergePatchType, []byte(`{"spec": {"schedules": `+schedules+`}}`)))
	}
	for what, schedules := range map[string]string{
		"another time":        `[{"name": "nightly", "schedule": "@hourly", "input": {"org": "acme"}}]`,
		"another input":       `[{"name": "nightly", "schedule": "@daily", "input": {"org": "other"}}]`,
		"no input":            `[{"name": "nightly", "schedule": "@daily"}]`,
		"another time zone":   `[{"name": "nightly", "schedule": "@daily", "timeZone": "Europe/Berlin", "input": {"org": "acme"}}]`,
		"another deadline":    `[{"name": "nightly", "schedule": "@daily", "startingDeadlineSeconds": 60, "input": {"org": "acme"}}]`,
		"suspended, and more": `[{"name": "nightly", "schedule": "@hourly", "suspend": true, "input": {"org": "acme"}}]`,
	} {
		g.Expect(patch(schedules)).To(refused, what)
	}
	g.Expect(patch(`[{"name": "weekly", "schedule": "@weekly"}]`)).To(Satisfy(apierrors.IsForbidden), "another schedule")
	suspended := `[{"name": "nightly", "schedule": "@daily", "suspend": true, "input": {"org": "acme"}}]`
	g.Expect(patch(suspended)).To(Succeed(), "suspended")
	g.Expect(patch(`[{"name": "nightly", "schedule": "@daily", "suspend": false, "input": {"org": "acme"}}]`)).To(refused, "goes on")
	g.Expect(editor.Patch(ctx, define("sync-users"), client.RawPatch(types.MergePatchType, []byte(`{"spec": {"description": "x"}}`)))).
		To(Succeed(), "the schedule stays")
	g.Expect(patch("null")).To(Succeed(), "the schedule goes")

	receiver := func(by client.Client, rest string) error {
		text := `{"spec": {"receivers": [{"name": "push", "type": "GitHub", "secretRef": {"name": "s", "key": "k"}` + rest + `}]}}`
		return by.Patch(ctx, define("sync-users"), client.RawPatch(types.MergePatchType, []byte(text)))
	}
	g.Expect(receiver(editor, "")).To(And(Satisfy(apierrors.IsForbidden), MatchError(ContainSubstring(`writing the receiver "push"`)), MatchError(ContainSubstring(rule))))
	g.Expect(receiver(owner, "")).To(Succeed())
	g.Expect(editor.Patch(ctx, define("sync-users"), client.RawPatch(types.MergePatchType, []byte(`{"spec": {"description": "y"}}`)))).
		To(Succeed(), "the receiver stays")
	g.Expect(receiver(editor, `, "filterExpression": "true"`)).To(Satisfy(apierrors.IsForbidden), "the receiver says something else")

	var policy admissionregistrationv1.ValidatingAdmissionPolicy
	g.Eventually(func(g Gomega) {
		g.Expect(c.admin.Get(ctx, client.ObjectKey{Name: "jobrun-rights"}, &policy)).To(Succeed())
		g.Expect(policy.Status.TypeChecking).NotTo(BeNil())
	}).WithTimeout(patience).Should(Succeed())
	g.Expect(policy.Status.TypeChecking.ExpressionWarnings).To(BeEmpty())
}

// The ClusterRole for binding has this name to the letter.
func TestTriggerRole(t *testing.T) {
	eachInstallation(t, func(t *testing.T, m manifests) {
		for _, role := range all[rbacv1.ClusterRole](t, m, "ClusterRole") {
			if role.Name == "jobrun-trigger" {
				NewWithT(t).Expect(role.Rules).To(ConsistOf(
					rbacv1.PolicyRule{APIGroups: []string{"batch.jobrun.dev"}, Resources: []string{"jobruns"}, Verbs: []string{"create", "get", "list", "watch"}},
					rbacv1.PolicyRule{APIGroups: []string{"batch.jobrun.dev"}, Resources: []string{"jobdefinitions"}, Verbs: []string{"trigger"}},
				))
				return
			}
		}
		t.Error("the ClusterRole jobrun-trigger is not installed")
	})
}
