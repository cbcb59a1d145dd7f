// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// right is one verb on one resource that a role grants.
type right struct {
	namespace, group, resource, verb string
	names                            []string
}

func (r right) String() string {
	return fmt.Sprintf("%s %s.%s %q in namespace %q", r.verb, r.resource, r.group, r.names, r.namespace)
}

// covers reports whether the right allows a request.
func (r right) covers(e auditv1.Event) bool {
	ref := e.ObjectRef
	resource := ref.Resource
	if ref.Subresource != "" {
		resource += "/" + ref.Subresource
	}
	return e.Verb == r.verb && ref.APIGroup == r.group && resource == r.resource &&
		(r.namespace == "" || ref.Namespace == r.namespace) &&
		(len(r.names) == 0 || slices.Contains(r.names, ref.Name))
}

// operatorsRights returns the rights in the roles that are bound to the operator.
func operatorsRights() []right {
	GinkgoHelper()
	var rights []right
	isOperator := func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Namespace == operator.Namespace && s.Name == operator.ServiceAccount
	}
	var everywhere rbacv1.ClusterRoleBindingList
	Expect(k8s.List(ctx, &everywhere)).To(Succeed())
	for _, binding := range everywhere.Items {
		if slices.ContainsFunc(binding.Subjects, isOperator) {
			var role rbacv1.ClusterRole
			Expect(k8s.Get(ctx, types.NamespacedName{Name: binding.RoleRef.Name}, &role)).To(Succeed())
			rights = append(rights, rightsOf(role.Rules, "")...)
		}
	}
	var inNamespaces rbacv1.RoleBindingList
	Expect(k8s.List(ctx, &inNamespaces)).To(Succeed())
	for _, binding := range inNamespaces.Items {
		if slices.ContainsFunc(binding.Subjects, isOperator) {
			var role rbacv1.Role
			Expect(k8s.Get(ctx, types.NamespacedName{Namespace: binding.Namespace, Name: binding.RoleRef.Name}, &role)).To(Succeed())
			rights = append(rights, rightsOf(role.Rules, binding.Namespace)...)
		}
	}
	return rights
}

func rightsOf(rules []rbacv1.PolicyRule, namespace string) []right {
	var rights []right
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, right{namespace, group, resource, verb, rule.ResourceNames})
				}
			}
		}
	}
	return rights
}

// The newcomer's task: docs/recipes.md has a Role that opens one job and nothing else.
var _ = Describe("A Role with the name of one job", Ordered, Label(local), func() {
	var theirs []string

	// asNewcomer runs kubectl with the token of the ServiceAccount that has the Role.
	asNewcomer := func(m manifest, args ...string) answer {
		GinkgoHelper()
		before := kubectlEnv
		defer func() { kubectlEnv = before }()
		kubectlEnv = slices.Concat(before, theirs)
		return tryWith(asYAML(m), append([]string{"create", "-f", "-"}, args...)...)
	}

	BeforeAll(func() {
		useNamespace()
		succeeded(tryWith(documentedIn("recipes.md", "yaml", "name: triggers-sync-users\n"), "apply", "-f", "-"))
		kubectl("create", "serviceaccount", "newcomer")
		kubectl("create", "rolebinding", "newcomer", "--role=triggers-sync-users", "--serviceaccount="+ns+":newcomer")
		kubeconfig, err := plane.ServiceAccountKubeconfig(ctx, ns, "newcomer")
		Expect(err).NotTo(HaveOccurred())
		theirs = []string{"KUBECONFIG=" + kubeconfig}
		Eventually(asNewcomer).WithArguments(workerRun("first").of("sync-users").key("k"), "--dry-run=server").Should(HaveField("Code", 0))
	})

	It("triggers that job", func() {
		succeeded(asNewcomer(workerRun("a").of("sync-users").key("k")))
		Expect(get("a").Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationTriggeredBy, "system:serviceaccount:"+ns+":newcomer"))
	})

	DescribeTable("is refused, and reserves nothing",
		func(m func() manifest, rule string) {
			for _, args := range [][]string{{"--dry-run=server"}, nil} {
				refused := asNewcomer(m(), args...)
				Expect(refused.Code).To(Equal(1), refused.String)
				Expect(refused.Stderr).To(And(
					ContainSubstring("Error from server (Forbidden)"), ContainSubstring("admission webhook"), ContainSubstring(rule)))
			}
			Expect(try("get", "jobrun", m().obj.Name).Stderr).To(ContainSubstring("NotFound"))
			Expect(kubectl("get", "runkeys", "-o", "jsonpath={.items[*].spec.jobName}")).To(Equal("sync-users"))
		},
		Entry("another job", func() manifest { return workerRun("b").of("report").key("k") },
			"{apiGroups: [batch.jobrun.dev], resources: [jobdefinitions], resourceNames: [report], verbs: [trigger]}"),
		Entry("a template", func() manifest { return run("c", quick).of("sync-users").key("other") },
			"{apiGroups: [batch], resources: [jobs], verbs: [create]}"),
		Entry("another job and a template", func() manifest { return run("d", quick).of("report").key("k").delivery("i") },
			"{apiGroups: [batch], resources: [jobs], verbs: [create]}"),
	)

	It("keeps who triggered", func() {
		kubectl("annotate", "jobrun", "a", "batch.jobrun.dev/triggered-by-", "note=x")
		kubectl("annotate", "jobrun", "a", "--overwrite", "batch.jobrun.dev/triggered-by=root")
		Expect(get("a").Annotations).To(And(
			HaveKeyWithValue(v1alpha1.AnnotationTriggeredBy, "system:serviceaccount:"+ns+":newcomer"), HaveKeyWithValue("note", "x")))
	})
})

// A schedule triggers its job with the operator's rights.
var _ = Describe("A Role that defines jobs", Label(local), func() {
	It("writes a schedule only with the verb trigger", func() {
		useNamespace()
		kubectl("create", "role", "defines", "--verb=create,update,patch,get", "--resource=jobdefinitions.batch.jobrun.dev")
		kubectl("create", "serviceaccount", "author")
		kubectl("create", "rolebinding", "defines", "--role=defines", "--serviceaccount="+ns+":author")
		kubeconfig, err := plane.ServiceAccountKubeconfig(ctx, ns, "author")
		Expect(err).NotTo(HaveOccurred())
		apply := func(spec string) answer {
			before := kubectlEnv
			defer func() { kubectlEnv = before }()
			kubectlEnv = slices.Concat(before, []string{"KUBECONFIG=" + kubeconfig})
			return tryWith("{apiVersion: batch.jobrun.dev/v1alpha1, kind: JobDefinition, metadata: {name: report}, spec: {"+spec+"}}", "apply", "-f", "-")
		}
		const nightly = "schedules: [{name: nightly, schedule: '0 3 * * *'}]"
		Eventually(apply).WithArguments("description: Reports.").Should(HaveField("Code", 0))
		refused := apply(nightly)
		Expect(refused.Code).To(Equal(1), refused.String)
		Expect(refused.Stderr).To(And(ContainSubstring("Error from server (Forbidden)"), ContainSubstring(`writing the schedule "nightly"`),
			ContainSubstring("{apiGroups: [batch.jobrun.dev], resources: [jobdefinitions], resourceNames: [report], verbs: [trigger]}")))

		// kubectl create role refuses a verb that it does not know.
		succeeded(tryWith("{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: triggers-report}, "+
			"rules: [{apiGroups: [batch.jobrun.dev], resources: [jobdefinitions], resourceNames: [report], verbs: [trigger]}]}", "apply", "-f", "-"))
		kubectl("create", "rolebinding", "triggers-report", "--role=triggers-report", "--serviceaccount="+ns+":author")
		Eventually(apply).WithArguments(nightly).Should(HaveField("Code", 0))
		kubectl("delete", "rolebinding", "triggers-report")
		succeeded(apply("schedules: [{name: nightly, schedule: '0 3 * * *', suspend: true}]"))
	})
})

// jobrun-trigger opens all jobs of a namespace, and no template.
var _ = Describe("The ClusterRole jobrun-trigger", Label(local), func() {
	It("opens every job, and no template", func() {
		useNamespace()
		as("jobrun-trigger", func() {
			Eventually(func() answer { return tryWith(asYAML(workerRun("a").of("report")), "apply", "-f", "-") }).Should(HaveField("Code", 0))
			Expect(tryWith(asYAML(run("b", quick)), "create", "-f", "-").Stderr).To(ContainSubstring("needs the verb create on jobs.batch"))
		})
	})
})
