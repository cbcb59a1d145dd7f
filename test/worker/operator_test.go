package worker

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/jobrun-dev/jobrun/internal/controller"
	"github.com/jobrun-dev/jobrun/internal/index"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/controlplane"
)

// startOperator runs webhook and controller in this process until the suite ends.
func startOperator() {
	GinkgoHelper()
	address, err := controlplane.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	certs := filepath.Join(cp.Dir(), "webhook-certs")
	ca, err := controlplane.NewServingCert(certs)
	Expect(err).NotTo(HaveOccurred())
	install(controlplane.WebhooksAt(address, ca),
		"crd/bases/batch.jobrun.dev_jobruns.yaml", "crd/bases/batch.jobrun.dev_runkeys.yaml", "webhook/manifests.yaml")

	host, port, err := net.SplitHostPort(address)
	Expect(err).NotTo(HaveOccurred())
	portNumber, err := strconv.Atoi(port)
	Expect(err).NotTo(HaveOccurred())
	server := webhook.NewServer(webhook.Options{Host: host, Port: portNumber, CertDir: certs})
	managed, cancel := context.WithCancel(context.Background())
	mgr := newManager(managed, server)
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(managed) }()
	DeferCleanup(func() {
		cancel()
		Eventually(ended).Should(Receive(BeNil()))
	})
	Expect(mgr.GetCache().WaitForCacheSync(managed)).To(BeTrue())
	Eventually(func() error { return server.StartedChecker()(nil) }).Should(Succeed())
}

func newManager(managed context.Context, server webhook.Server) ctrl.Manager {
	GinkgoHelper()
	var mgr ctrl.Manager
	Eventually(func() (err error) { // the API server serves the types a moment after they are installed
		mgr, err = ctrl.NewManager(cp.AdminConfig(), ctrl.Options{
			Scheme:        scheme,
			Cache:         cache.Options{ByObject: map[client.Object]cache.ByObject{&batchv1.Job{}: {}}},
			Client:        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Pod{}}}},
			WebhookServer: server,
			Metrics:       metricsserver.Options{BindAddress: "0"},
		})
		if err != nil {
			return err
		}
		return index.SetupFields(managed, mgr.GetFieldIndexer())
	}).Should(Succeed())
	keys := index.New(index.Options{
		Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: clock.RealClock{},
	})
	Expect(webhookv1alpha1.SetupWithManager(mgr, webhookv1alpha1.Options{
		Index: keys, Cached: mgr.GetClient(), Live: mgr.GetAPIReader(),
	})).To(Succeed())
	Expect(controller.SetupWithManager(mgr, controller.Options{
		Index: keys, ReceiptHistory: 10, ReservationGrace: 5 * time.Second, Clock: clock.RealClock{}, Concurrency: 4,
	})).To(Succeed())
	return mgr
}
