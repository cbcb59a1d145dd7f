// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/format"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

const (
	patience = 30 * time.Second
	polling  = 50 * time.Millisecond
	// steady is how long a spec waits to see that something does not happen.
	steady = time.Second
)

var (
	ctx context.Context
	// server is the API server with the CRDs and the webhook configuration of config/.
	server *apiServer
	// replicas are the replicas of the webhook.
	replicas []*replica
	// k8s is an administrator's client, without a cache.
	k8s client.Client
	// seen watches all RunKeys and JobRuns.
	seen *observer
	// ns is the namespace of the spec.
	ns string
)

func TestEnvtest(t *testing.T) {
	RegisterFailHandler(Fail)
	format.MaxLength = 8000
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(polling)
	SetDefaultConsistentlyDuration(steady)
	SetDefaultConsistentlyPollingInterval(polling)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "JobRun")
}

var _ = BeforeSuite(func() {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter)))
	var cancel context.CancelFunc
	ctx, cancel = context.WithCancel(context.Background())
	DeferCleanup(func() { cancel() })

	server = startServer()
	k8s = newClient()
	seen = startObserver()
	for range 3 {
		replicas = append(replicas, startReplica())
	}
	server.route(replicas)
	theControllers.start(production())
	DeferCleanup(theControllers.stop)
})

// Every spec has a namespace of its own, and leaves it behind: no namespace controller runs that would empty it.
var _ = BeforeEach(func() {
	ns = newNamespace()
	DeferCleanup(func(namespace string) {
		seen.expectNoViolation(namespace)
		if CurrentSpecReport().Failed() {
			AddReportEntry("what the API server stored", seen.story(namespace), ReportEntryVisibilityFailureOrVerbose)
		}
	}, ns)
})

func newNamespace() string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}
