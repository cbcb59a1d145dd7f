// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/format"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/inprocess"
)

const (
	patience = 90 * time.Second // a restart of the API server on a busy machine
	polling  = 50 * time.Millisecond
	steady   = time.Second
)

var (
	scheme = runtime.NewScheme()
	cp     *controlplane.ControlPlane
	// ctx lasts as long as the spec.
	ctx context.Context
	// k8s is an administrator's client. The specs use it to play workers and the Job controller.
	k8s client.Client
	// runs is the client under test, in the namespace ns of the spec.
	runs *jobrun.Client
	// wire has the connections of runs.
	wire *connections
	ns   string
)

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

// receiptHistory is small, so that the controller deletes receipts while callers wait for them.
const receiptHistory = 3

func TestClient(t *testing.T) {
	RegisterFailHandler(Fail)
	format.MaxLength = 8000
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(polling)
	SetDefaultConsistentlyDuration(steady)
	SetDefaultConsistentlyPollingInterval(polling)
	RunSpecs(t, "Go client")
}

var _ = BeforeSuite(func() {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))
	var err error
	cp, err = controlplane.Start(context.Background(), controlplane.Options{
		NoScheduler: true, NoControllerManager: true, Log: GinkgoWriter,
		// No controller creates ServiceAccounts for the Pods of the specs.
		ExtraArgs: map[string][]string{"kube-apiserver": {"--disable-admission-plugins=ServiceAccount"}},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(cp.Stop()).To(Succeed()) })
	k8s, err = client.New(cp.AdminConfig(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	stop, err := inprocess.Start(context.Background(), cp, inprocess.Options{
		Root: checkout.Path(), Scheme: scheme, ReceiptHistory: receiptHistory,
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(stop()).To(Succeed()) })
})

var _ = BeforeEach(func() {
	var cancel context.CancelFunc
	ctx, cancel = context.WithTimeout(context.Background(), 4*time.Minute)
	DeferCleanup(func() { cancel() })
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	ns = namespace.Name

	config := cp.AdminConfig()
	wire = watchConnections(config)
	var err error
	runs, err = jobrun.NewForConfig(config, ns)
	Expect(err).NotTo(HaveOccurred())
})
