// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	patience = 2 * time.Minute // for busy machines
	polling  = 100 * time.Millisecond
	// steady is how long a spec waits to see that something does not happen.
	steady = time.Second
)

var (
	ctx    context.Context
	config *rest.Config
	// k8s is an administrator's client, without a cache.
	k8s client.WithWatch
	// managers are the replicas.
	managers *operator.Operator
	// ns is the namespace of the spec.
	ns     string
	scheme = runtime.NewScheme()
)

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

func TestConformance(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(polling)
	SetDefaultConsistentlyDuration(steady)
	SetDefaultConsistentlyPollingInterval(polling)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "JobRun conforms")
}

var _ = BeforeSuite(func() {
	var cancel context.CancelFunc
	ctx, cancel = context.WithCancel(context.Background())
	DeferCleanup(func() { cancel() })
	store, err := controlplane.StoreFromEnv()
	Expect(err).NotTo(HaveOccurred())
	root := checkout.Path()
	for _, name := range []string{"manager", "localnode"} {
		Expect(filepath.Join(root, "bin", name)).To(BeARegularFile(), "run `make test-conformance`, which builds it")
	}
	plane, err := controlplane.Start(ctx, controlplane.Options{Store: store, Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })
	start(plane, root)

	config = rest.CopyConfig(plane.AdminConfig())
	config.QPS = -1
	config.WarningHandler = &warned
	k8s, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})

// start starts a node and two managers whose controllers act at the same time.
func start(plane *controlplane.ControlPlane, root string) {
	GinkgoHelper()
	var group errgroup.Group
	group.Go(func() error {
		_, err := plane.StartLocalNode(ctx, filepath.Join(root, "bin", "localnode"), "local")
		return err
	})
	group.Go(func() (err error) {
		managers, err = operator.Install(ctx, plane, operator.Options{Root: root, Managers: 2})
		return err
	})
	Expect(group.Wait()).To(Succeed())
	DeferCleanup(func() { Expect(managers.Stop()).To(Succeed()) })
}

var _ = BeforeEach(func() {
	ns = newNamespace()
	warned.forget()
})

// warnings are the warnings in the answers to the requests of a spec.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

var warned warnings

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = nil
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}

func newNamespace() string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "conformance-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	DeferCleanup(func() { Expect(client.IgnoreNotFound(k8s.Delete(ctx, namespace))).To(Succeed()) })
	return namespace.Name
}
