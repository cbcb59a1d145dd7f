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
	// steady is how long what must not happen is watched for.
	steady = time.Second
)

var (
	ctx context.Context
	// server is the API server with the CRDs and the webhook as config/ has them.
	server *apiServer
	// replicas answer the webhook, each with a cache and an index of its own.
	replicas []*replica
	// k8s is an administrator's client, without a cache.
	k8s client.Client
	// seen watches all keys and runs.
	seen *observer
	// ns is a namespace of the spec's own.
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

// Every spec has a namespace to itself, and leaves it behind: there is nobody
// to empty it.
var _ = BeforeEach(func() {
	ns = newNamespace()
	DeferCleanup(func(namespace string) {
		seen.expectNoViolation(namespace)
		if CurrentSpecReport().Failed() {
			AddReportEntry("what the API server saw", seen.story(namespace), ReportEntryVisibilityFailureOrVerbose)
		}
	}, ns)
})

func newNamespace() string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}
