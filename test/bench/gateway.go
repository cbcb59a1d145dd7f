// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	// gatewayCaller is the ServiceAccount of the callers.
	gatewayCaller      = "caller"
	callerTokenSeconds = 24 * 60 * 60
	// callerInput is the input of all triggers, as in jobRun.
	callerInput = `{"org":"acme","full":false,"since":"2026-01-01T00:00:00Z"}`
)

// gateway is a gateway in a process of its own. Its callers have a token of a ServiceAccount.
type gateway struct {
	*operator.Gateway
	token string
	// api has the same callers, at the API server.
	api client.WithWatch
}

// startGateway returns the gateway of the world. The first call starts it.
func (w *world) startGateway(ctx context.Context) (*gateway, error) {
	if w.gateway != nil {
		return w.gateway, nil
	}
	account, err := w.newCaller(ctx)
	if err != nil {
		return nil, fmt.Errorf("make a ServiceAccount for the callers: %w", err)
	}
	lifetime := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](callerTokenSeconds)}}
	if err := w.admin.SubResource("token").Create(ctx, account, lifetime); err != nil {
		return nil, err
	}
	g := &gateway{token: lifetime.Status.Token}
	config := rest.AnonymousClientConfig(w.callers)
	config.BearerToken = g.token
	if g.api, err = newClient(config, oursScheme); err != nil {
		return nil, err
	}
	if g.Gateway, err = w.op.StartGateway(ctx); err != nil {
		return nil, err
	}
	w.gateway = g
	return g, nil
}

// newCaller creates the ServiceAccount of the callers, with all rights.
func (w *world) newCaller(ctx context.Context) (*corev1.ServiceAccount, error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return nil, err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: gatewayCaller}}
	if err := w.admin.Create(ctx, account); err != nil {
		return nil, err
	}
	return account, w.admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bench-" + gatewayCaller},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: gatewayCaller}},
	})
}

// gatewayProcess returns the CPU time of the gateway, in seconds, and its resident set size, in MiB.
func (w *world) gatewayProcess(ctx context.Context) (cpu, resident float64, err error) {
	metrics, err := w.op.GatewayMetrics(ctx, w.gateway.Gateway)
	return metrics.Sum("process_cpu_seconds_total"), metrics.Sum("process_resident_memory_bytes") / (1 << 20), err
}

// triggerBody returns the body of a trigger with a key.
func triggerBody(key, input string) string {
	return fmt.Sprintf(`{"input":%s,"concurrencyKey":%q,"coalesce":"Skip"}`, input, key)
}

// trigger returns the request of one trigger of a job of workers.
func (g *gateway) trigger(ns, key string) []byte {
	return g.post("/v1/namespaces/"+ns+"/jobs/"+workerJob+"/runs", "application/json", triggerBody(key, callerInput))
}

// triggerDefined returns the request of one trigger whose definition gives the key.
func (g *gateway) triggerDefined(ns string) []byte {
	return g.post("/v1/namespaces/"+ns+"/jobs/"+workerJob+"/runs", "application/json", fmt.Sprintf(`{"input":%s}`, callerInput))
}

// lines returns the request of one trigger for each input, all with one key.
func (g *gateway) lines(ns, key string, inputs ...string) []byte {
	var body strings.Builder
	for _, input := range inputs {
		fmt.Fprintf(&body, `{"jobName":%q,%s`+"\n", workerJob, triggerBody(key, input)[1:])
	}
	return g.post("/v1/namespaces/"+ns+"/batches", "application/x-ndjson", body.String())
}

func (g *gateway) post(path, contentType, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		path, g.Address, g.token, contentType, len(body), body)
}

// send sends one request on a connection of its own.
func (g *gateway) send(ctx context.Context, request []byte, want v1alpha1.Disposition) error {
	c, err := dial(ctx, g.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.send(request, want, 1)
}
