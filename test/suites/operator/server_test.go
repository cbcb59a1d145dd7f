// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"net"
	"path/filepath"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

// apiServer is an API server whose webhook calls go to a balancer.
type apiServer struct {
	envtest.Environment
	config   *rest.Config
	balancer *controlplane.Balancer
}

func startServer() *apiServer {
	GinkgoHelper()
	assets, err := checkout.Assets()
	Expect(err).NotTo(HaveOccurred())
	for _, name := range []string{"etcd", "kube-apiserver"} {
		Expect(filepath.Join(assets, name)).To(BeARegularFile(), "these tests need an API server: run `make k8s` first")
	}
	balancer, err := controlplane.NewBalancer()
	Expect(err).NotTo(HaveOccurred())
	host, port, err := net.SplitHostPort(balancer.Addr())
	Expect(err).NotTo(HaveOccurred())
	portNumber, err := strconv.Atoi(port)
	Expect(err).NotTo(HaveOccurred())

	s := &apiServer{balancer: balancer, Environment: envtest.Environment{
		BinaryAssetsDirectory: assets,
		CRDDirectoryPaths:     []string{checkout.Path("config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: envtest.WebhookInstallOptions{
			Paths:            []string{checkout.Path("config", "webhook", "manifests.yaml")},
			LocalServingHost: host,
			LocalServingPort: portNumber,
		},
	}}
	s.config, err = s.Start()
	DeferCleanup(func() {
		Expect(s.Stop()).To(Succeed())
		Expect(balancer.Close()).To(Succeed())
	})
	Expect(err).NotTo(HaveOccurred())
	s.config.QPS = -1
	return s
}

// route sends the webhook's calls to these replicas.
func (s *apiServer) route(replicas []*replica) {
	addresses := make([]string, len(replicas))
	for i, r := range replicas {
		addresses[i] = r.address
	}
	s.balancer.SetBackends(addresses...)
}

func newClient() client.WithWatch {
	GinkgoHelper()
	config := rest.CopyConfig(server.config)
	config.WarningHandlerWithContext = warningCollector{}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}
