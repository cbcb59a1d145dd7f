// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// The cluster against which the suite runs.
var (
	// k8s is an administrator's client.
	k8s client.WithWatch
	// kubeconfig is the kubeconfig of kubectl.
	kubeconfig string
	// plane and jobrun are the suite's own cluster and operator, for specs labelled local.
	plane  *controlplane.ControlPlane
	jobrun *operator.Operator
)

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

const managers = 3

func startCluster() {
	GinkgoHelper()
	root := checkout.Path()
	for _, name := range []string{"manager", "localnode", "testworker"} {
		Expect(filepath.Join(root, "bin", name)).To(BeARegularFile(), "run `make test-e2e`, which builds it")
	}
	var err error
	plane, err = controlplane.Start(ctx, controlplane.Options{AuditLog: true, Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })

	kubeconfig = plane.AdminKubeconfig()
	k8s = newClient(plane.AdminConfig())
	var group errgroup.Group
	group.Go(func() error {
		_, err := plane.StartLocalNode(ctx, filepath.Join(root, "bin", "localnode"), "local")
		return err
	})
	group.Go(func() (err error) {
		jobrun, err = operator.Install(ctx, plane, operator.Options{Root: root, Managers: managers})
		return err
	})
	Expect(group.Wait()).To(Succeed())
	DeferCleanup(func() { Expect(jobrun.Stop()).To(Succeed()) })
}

func useKubeconfig() {
	GinkgoHelper()
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	Expect(err).NotTo(HaveOccurred(), "E2E_USE_KUBECONFIG=1 needs a KUBECONFIG")
	k8s = newClient(config)
	Expect(k8s.List(ctx, &v1alpha1.JobRunList{})).To(Succeed(), "JobRun must be installed at %s", config.Host)
}

func newClient(config *rest.Config) client.WithWatch {
	GinkgoHelper()
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}
