// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/format"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	// patience is long, for busy machines.
	patience = 3 * time.Minute
	polling  = 200 * time.Millisecond
	// replicas is the number of managers, as in the Deployment of both versions.
	replicas = 2
)

var (
	ctx context.Context
	// plane is the control plane, and jobrun the installation.
	plane  *controlplane.ControlPlane
	jobrun *operator.Operator
	// before is the older version.
	before older
	// k8s is an administrator's client.
	k8s client.WithWatch
)

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

func TestUpgrade(t *testing.T) {
	RegisterFailHandler(Fail)
	ctrl.SetLogger(GinkgoLogr)
	format.MaxLength = 8000
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(polling)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "JobRun, upgraded")
}

var _ = BeforeSuite(func() {
	var cancel context.CancelFunc
	ctx, cancel = context.WithCancel(context.Background())
	DeferCleanup(func() { cancel() })
	for _, name := range []string{"manager", "localnode", "testworker"} {
		Expect(filepath.Join(checkout.Path("bin"), name)).To(BeARegularFile(), "run `make test-upgrade`, which builds it")
	}
	var err error
	plane, err = controlplane.Start(ctx, controlplane.Options{Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })
	k8s = newClient(plane.AdminConfig())

	before = buildOlder()
	var group errgroup.Group
	group.Go(func() error {
		_, err := plane.StartLocalNode(ctx, checkout.Path("bin", "localnode"), "local")
		return err
	})
	group.Go(func() (err error) {
		jobrun, err = operator.Install(ctx, plane, operator.Options{
			Root: before.root, Binary: before.manager, Managers: replicas,
			Args: []string{"--receipt-history=10000", "--leader-elect"},
		})
		return err
	})
	Expect(group.Wait()).To(Succeed())
	DeferCleanup(func() { Expect(jobrun.Stop()).To(Succeed()) })
})

func newClient(config *rest.Config) client.WithWatch {
	GinkgoHelper()
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}
