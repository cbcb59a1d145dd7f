// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/config/crd"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	// NoopCommand is the argument that makes the program serve the no-op webhook.
	NoopCommand = "noop-webhook"
	// refuseLabel marks JobRuns that the no-op webhook refuses.
	refuseLabel = "bench.jobrun.dev/refuse"

	allowPath, refusePath = "/allow", "/refuse"
	cpuPath               = "/cpu"
)

// noopWebhook is a process that serves a webhook like the manager's, and decides nothing.
type noopWebhook struct {
	process  *controlplane.Process
	balancer *controlplane.Balancer
	client   *http.Client
	url      string
}

// ServeNoop serves the no-op webhook until ctx is done.
func ServeNoop(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(NoopCommand, flag.ContinueOnError)
	port := flags.Int("port", 0, "port to listen on")
	certs := flags.String("cert-path", "", "directory with tls.crt and tls.key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server := webhook.NewServer(webhook.Options{
		Host: "127.0.0.1", Port: *port, CertDir: *certs,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }}, // like the manager
	})
	server.Register(allowPath, &admission.Webhook{Handler: admission.HandlerFunc(allow)})
	server.Register(refusePath, &admission.Webhook{Handler: admission.HandlerFunc(refuse)})
	server.Register(cpuPath, http.HandlerFunc(serveCPU))
	return server.Start(ctx)
}

// serveCPU answers with the CPU time of this process, in nanoseconds.
func serveCPU(w http.ResponseWriter, _ *http.Request) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprint(w, used.Utime.Nano()+used.Stime.Nano())
}

// cpu returns the CPU time of the process, in seconds.
func (n *noopWebhook) cpu(ctx context.Context) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+cpuPath, nil)
	if err != nil {
		return 0, err
	}
	response, err := n.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var used int64
	if _, err := fmt.Fscan(response.Body, &used); err != nil {
		return 0, fmt.Errorf("CPU time of the no-op webhook: %w", err)
	}
	return time.Duration(used).Seconds(), nil
}

func allow(context.Context, admission.Request) admission.Response { return admission.Allowed("") }

func refuse(_ context.Context, request admission.Request) admission.Response {
	resource := schema.GroupResource{Group: request.Resource.Group, Resource: request.Resource.Resource}
	status := apierrors.NewConflict(resource, request.Name, errors.New("refused by the no-op webhook")).Status()
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: &status}}
}

func startNoop(ctx context.Context, cp *controlplane.ControlPlane) (*noopWebhook, error) {
	certs := filepath.Join(cp.Dir(), "noop-certs")
	ca, err := controlplane.NewServingCert(certs)
	if err != nil {
		return nil, err
	}
	address, err := controlplane.FreeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	n := &noopWebhook{
		url:    "https://" + address,
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
	}
	n.process, err = cp.Run(controlplane.ProcessSpec{
		Name: NoopCommand, Path: program, Args: []string{NoopCommand, "-port=" + port, "-cert-path=" + certs},
	})
	if err != nil {
		return nil, err
	}
	if err := n.process.WaitReady(ctx, controlplane.HTTPReady(n.client, n.url+cpuPath)); err != nil {
		return nil, err
	}
	// The manager's webhook is behind a balancer, too.
	if n.balancer, err = controlplane.NewBalancer(address); err != nil {
		return nil, err
	}
	return n, n.install(ctx, cp, ca)
}

// install adds a copy of the CustomResourceDefinition in its own group, and the webhook for it.
func (n *noopWebhook) install(ctx context.Context, cp *controlplane.ControlPlane, ca []byte) error {
	configuration, err := yaml.Marshal(n.configuration())
	if err != nil {
		return err
	}
	_, err = cp.InstallManifests(ctx, crd.JobRuns, inNoopGroup)
	if err != nil {
		return err
	}
	_, err = cp.InstallManifests(ctx, configuration, controlplane.WebhooksAt(n.balancer.Addr(), ca))
	return err
}

func inNoopGroup(object *unstructured.Unstructured) error {
	object.SetName("jobruns." + noopGroup)
	return unstructured.SetNestedField(object.Object, noopGroup, "spec", "group")
}

func (n *noopWebhook) configuration() *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: "noop"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{
			noopRule("allow."+noopGroup, allowPath, metav1.LabelSelectorOpDoesNotExist),
			noopRule("refuse."+noopGroup, refusePath, metav1.LabelSelectorOpExists),
		},
	}
}

// noopRule returns a webhook that sends the JobRuns with, or without, refuseLabel to a path.
func noopRule(name, path string, label metav1.LabelSelectorOperator) admissionregistrationv1.MutatingWebhook {
	return admissionregistrationv1.MutatingWebhook{
		Name: name,
		ClientConfig: admissionregistrationv1.WebhookClientConfig{
			Service: &admissionregistrationv1.ServiceReference{Namespace: "default", Name: "replaced", Path: ptr.To(path)},
		},
		Rules: []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
			Rule: admissionregistrationv1.Rule{
				APIGroups: []string{noopGroup}, APIVersions: []string{v1alpha1.GroupVersion.Version}, Resources: []string{"jobruns"},
			},
		}},
		ObjectSelector:          &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: refuseLabel, Operator: label}}},
		SideEffects:             ptr.To(admissionregistrationv1.SideEffectClassNone),
		TimeoutSeconds:          ptr.To(int32(10)),
		AdmissionReviewVersions: []string{"v1"},
	}
}
