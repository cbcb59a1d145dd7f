// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/gateway"
	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// endpoint is a gateway that serves.
type endpoint struct {
	url    string
	server *gateway.Server
	client *http.Client
	// stop stops the gateway. ended is closed when it has.
	stop  func()
	ended chan struct{}
}

// startGateway starts a gateway with the rights of config/gateway, until the spec ends.
func startGateway(change ...func(*gateway.Options)) *endpoint {
	GinkgoHelper()
	config := controlplane.AsGateway(cp.AdminConfig())
	config.QPS, config.WarningHandlerWithContext = -1, gateway.Warnings{}
	httpClient, err := rest.HTTPClientFor(config)
	Expect(err).NotTo(HaveOccurred())
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme, HTTPClient: httpClient})
	Expect(err).NotTo(HaveOccurred())
	authenticator, err := gateway.NewAuthenticator(config, httpClient)
	Expect(err).NotTo(HaveOccurred())
	authorizer, err := webhookv1alpha1.NewAuthorizer(config, httpClient)
	Expect(err).NotTo(HaveOccurred())
	openLog, err := gateway.NewLogOpener(config, httpClient)
	Expect(err).NotTo(HaveOccurred())
	serving, cancel := context.WithCancel(context.Background())
	receivers, err := gateway.NewReceivers(serving, config, httpClient, scheme, nil)
	Expect(err).NotTo(HaveOccurred())
	options := gateway.Options{
		API: api, Authenticator: authenticator, Authorizer: authorizer, CallerInFlight: 100, NamespaceInFlight: 100,
		Streams: events.DefaultOptions, OpenLog: openLog, Receivers: receivers,
		Metrics: prometheus.NewRegistry(), Clock: clock.RealClock{}, Log: ctrl.Log,
	}
	for _, change := range change {
		change(&options)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	tlsConfig, err := gateway.SelfSigned(listener.Addr())
	Expect(err).NotTo(HaveOccurred())
	e := &endpoint{
		url: "https://" + listener.Addr().String(), server: gateway.NewServer(options), ended: make(chan struct{}),
		client: &http.Client{Transport: observed{&http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
		}}},
	}
	e.stop = cancel
	gateways.Go(func() {
		defer GinkgoRecover()
		Expect(receivers.Start(serving)).To(Succeed())
	})
	gateways.Add(1)
	go func() {
		defer GinkgoRecover()
		defer gateways.Done()
		defer close(e.ended)
		Expect((&gateway.Endpoint{Server: e.server, Listener: listener, TLS: tlsConfig}).Start(serving)).To(Succeed())
	}()
	DeferCleanup(func() {
		cancel()
		e.client.CloseIdleConnections()
	})
	return e
}

// gateways are those that have not stopped yet. Each takes two seconds for it, in which the next spec begins.
var gateways sync.WaitGroup

// answer is the answer to a request.
type answer struct {
	code   int
	header http.Header
	body   string
}

// send sends a request with a token. The namespace of the spec replaces NS in the path. Headers are pairs.
func (e *endpoint) send(token, method, path, body string, headers ...string) answer {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, method, e.url+strings.ReplaceAll(path, "NS", ns), strings.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := e.client.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return answer{response.StatusCode, response.Header, string(text)}
}

func decode[T any](a answer) (value T) {
	GinkgoHelper()
	Expect(json.Unmarshal([]byte(a.body), &value)).To(Succeed(), a.body)
	return value
}

// refused checks that an answer is a Status with a code and returns it.
func refused(a answer, code int) metav1.Status {
	GinkgoHelper()
	Expect(a.code).To(Equal(code), a.body)
	status := decode[metav1.Status](a)
	Expect(status.Kind).To(Equal("Status"))
	Expect(status.Code).To(BeEquivalentTo(code))
	return status
}

// triggered checks that an answer is that of a trigger with a code and returns it.
func triggered(a answer, code int) gateway.TriggerAnswer {
	GinkgoHelper()
	Expect(a.code).To(Equal(code), a.body)
	return decode[gateway.TriggerAnswer](a)
}
