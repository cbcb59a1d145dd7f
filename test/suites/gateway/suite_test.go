// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/format"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/inprocess"
)

const (
	patience = 60 * time.Second
	polling  = 50 * time.Millisecond
	// job is the job that the callers may trigger.
	job = "sync"
)

var (
	scheme = runtime.NewScheme()
	cp     *controlplane.ControlPlane
	// ctx lasts as long as the spec.
	ctx context.Context
	// k8s is an administrator's client.
	k8s client.Client
	ns  string
	// editor may do everything with JobRuns, trigger the job sync, and read logs. viewer may read, but no logs. nobody has no
	// right.
	editor, viewer, nobody string
	// gate is the gateway of the spec.
	gate *endpoint
)

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

func TestGateway(t *testing.T) {
	RegisterFailHandler(Fail)
	format.MaxLength = 8000
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(polling)
	RunSpecs(t, "Gateway")
}

var _ = BeforeSuite(func() {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))
	var err error
	cp, err = controlplane.Start(context.Background(), controlplane.Options{
		NoScheduler: true, NoControllerManager: true, Log: GinkgoWriter,
		ExtraArgs: map[string][]string{"kube-apiserver": {"--disable-admission-plugins=ServiceAccount"}}, // no controller creates accounts
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(cp.Stop()).To(Succeed()) })
	k8s, err = client.New(cp.AdminConfig(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	for _, path := range []string{"role.yaml", "logs/role.yaml", "receivers/role.yaml"} {
		role, err := os.ReadFile(filepath.Join(checkout.Path(), "config", "gateway", path))
		Expect(err).NotTo(HaveOccurred())
		_, err = cp.InstallManifests(context.Background(), role)
		Expect(err).NotTo(HaveOccurred())
	}
	stop, err := inprocess.Start(context.Background(), cp, inprocess.Options{Root: checkout.Path(), Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(stop()).To(Succeed()) })
	DeferCleanup(gateways.Wait)
})

var _ = BeforeEach(func() {
	var cancel context.CancelFunc
	ctx, cancel = context.WithTimeout(context.Background(), 3*time.Minute)
	DeferCleanup(func() { cancel() })
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	ns = namespace.Name
	all := []string{"*"}
	editor = caller("editor",
		rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"jobruns", "runkeys"}, Verbs: all},
		rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"jobdefinitions"}, ResourceNames: []string{job}, Verbs: []string{"trigger"}},
		rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"jobdefinitions"}, Verbs: []string{"get", "list"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}})
	viewer = caller("viewer",
		rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: all, Verbs: []string{"get", "list"}})
	nobody = caller("nobody")
	gate = startGateway()
	// The API server sees the bindings a moment later.
	Eventually(func() int { return gate.send(editor, "POST", runs+"?dryRun=All", "{}").code }).Should(Equal(201))
	Eventually(func() int { return gate.send(viewer, "GET", "/v1/namespaces/NS/keys", "").code }).Should(Equal(200))
})

// caller creates a ServiceAccount with rights in the namespace, and returns its token.
func caller(name string, rules ...rbacv1.PolicyRule) string {
	GinkgoHelper()
	meta := metav1.ObjectMeta{Namespace: ns, Name: name}
	account := &corev1.ServiceAccount{ObjectMeta: meta}
	Expect(k8s.Create(ctx, account)).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules})).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: name}},
	})).To(Succeed())
	request := &authenticationv1.TokenRequest{}
	Expect(k8s.SubResource("token").Create(ctx, account, request)).To(Succeed())
	return request.Status.Token
}
