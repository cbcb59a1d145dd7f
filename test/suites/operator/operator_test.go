// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"crypto/tls"
	"net/netip"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/controller"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// replica is a replica of the webhook, with a cache and a keystore of its own.
type replica struct {
	address string
	cached  client.Reader
	// connections counts the connections from the API server.
	connections atomic.Int64
}

func startReplica() *replica {
	GinkgoHelper()
	address, err := controlplane.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	listen := netip.MustParseAddrPort(address)
	r := &replica{address: address}
	webhooks := webhook.NewServer(webhook.Options{
		Host:    listen.Addr().String(),
		Port:    int(listen.Port()),
		CertDir: server.WebhookInstallOptions.LocalServingCertDir,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			// With HTTP/2, all calls would use one connection, to one replica.
			c.NextProtos = []string{"http/1.1"}
			c.VerifyConnection = func(tls.ConnectionState) error {
				r.connections.Add(1)
				return nil
			}
		}},
	})
	mgr, keys := newManager(webhooks)
	r.cached = mgr.GetClient()
	Expect(webhookv1alpha1.SetupWithManager(mgr, webhookv1alpha1.Options{
		Keys:             keys,
		Cached:           mgr.GetClient(),
		Live:             mgr.GetAPIReader(),
		Definitions:      mgr.GetClient(),
		Quotas:           mgr.GetClient(),
		ReservationGrace: production().ReservationGrace,
	})).To(Succeed())
	DeferCleanup(run(mgr))
	Eventually(func() error { return webhooks.StartedChecker()(nil) }).Should(Succeed())
	return r
}

// everyReplicaHas waits until the caches of all replicas show the run.
func everyReplicaHas(run *v1alpha1.JobRun) {
	GinkgoHelper()
	for _, r := range replicas {
		Eventually(func() error { return r.cached.Get(ctx, client.ObjectKeyFromObject(run), &v1alpha1.JobRun{}) }).Should(Succeed())
	}
}

// newManager makes a manager and the keystore over its cache, as cmd does.
func newManager(webhooks webhook.Server) (manager.Manager, *keystore.Store) {
	GinkgoHelper()
	mgr, err := ctrl.NewManager(controlplane.AsOperator(server.config), ctrl.Options{
		Scheme: scheme,
		Cache: ctrlcache.Options{ByObject: map[client.Object]ctrlcache.ByObject{
			&batchv1.Job{}: {Label: ofRuns()}, &corev1.Pod{}: {Label: ofRuns()},
		}},
		Client:        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&coordinationv1.Lease{}}}},
		WebhookServer: webhooks,
		Metrics:       metricsserver.Options{BindAddress: "0"},
		Controller:    ctrlconfig.Controller{SkipNameValidation: ptr.To(true)},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(cache.SetupFields(ctx, mgr.GetFieldIndexer())).To(Succeed())
	return mgr, keystore.New(keystore.Options{
		Cached: mgr.GetClient(),
		Live:   mgr.GetAPIReader(),
		Writer: mgr.GetClient(),
		Clock:  clock.RealClock{},
	})
}

func ofRuns() labels.Selector {
	GinkgoHelper()
	ofRun, err := labels.NewRequirement(v1alpha1.LabelRun, selection.Exists, nil)
	Expect(err).NotTo(HaveOccurred())
	return labels.NewSelector().Add(*ofRun)
}

// run starts a manager and returns a function that stops it.
func run(mgr manager.Manager) (stop func()) {
	GinkgoHelper()
	managed, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(managed) }()
	Expect(mgr.GetCache().WaitForCacheSync(managed)).To(BeTrue())
	return func() {
		GinkgoHelper()
		cancel()
		var err error
		Eventually(ended).Should(Receive(&err))
		Expect(err).NotTo(HaveOccurred())
	}
}

// controllers has the running controllers: one, unless a spec starts others.
type controllers struct{ stops []func() }

var theControllers controllers

// production returns the options of a controller with the defaults of the flags. But it sweeps more often.
func production() controller.Options {
	return controller.Options{
		ReceiptHistory:   100,
		ReservationGrace: 5 * time.Second,
		IdempotencyGrace: 90 * time.Second,
		CheckDefinition:  webhookv1alpha1.CheckDefinition,
		BatchTimeout:     v1alpha1.BatchTimeoutSeconds * time.Second,
		RunTTL:           168 * time.Hour,
		JobTTL:           24 * time.Hour,
		SweepPeriod:      time.Second,
		JobSeries:        200,
		Clock:            clock.RealClock{},
		Concurrency:      8,
	}
}

func (c *controllers) start(each ...controller.Options) {
	GinkgoHelper()
	for _, o := range each {
		mgr, keys := newManager(nil)
		o.Keys = keys
		metrics.Registry.Unregister(activeRuns{}) // of the previous controller
		Expect(controller.SetupWithManager(mgr, o)).To(Succeed())
		c.stops = append(c.stops, run(mgr))
	}
}

func (c *controllers) stop() {
	GinkgoHelper()
	for _, stop := range c.stops {
		stop()
	}
	c.stops = nil
}

// useControllers replaces the controller until the spec or container ends.
func useControllers(each ...controller.Options) {
	GinkgoHelper()
	theControllers.stop()
	theControllers.start(each...)
	DeferCleanup(func() {
		theControllers.stop()
		theControllers.start(production())
	})
}

// activeRuns equals the collector that a controller registers. A process can have only one of them.
type activeRuns struct{}

func (activeRuns) Describe(ch chan<- *prometheus.Desc) {
	ch <- prometheus.NewDesc("jobrun_active_runs", "", []string{"phase"}, nil)
	ch <- prometheus.NewDesc("jobrun_active_homes", "", nil, nil)
	ch <- prometheus.NewDesc("jobrun_waiting_runs", "", []string{"namespace", "job"}, nil)
}

func (activeRuns) Collect(chan<- prometheus.Metric) {}

// shortGrace returns options for specs with a reservation whose run is never stored.
func shortGrace() controller.Options {
	o := production()
	o.ReservationGrace, o.IdempotencyGrace = 2*time.Second, 2*time.Second
	return o
}
