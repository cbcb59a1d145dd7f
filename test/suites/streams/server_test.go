// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway"
	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

const (
	namespace = "default"
	patience  = time.Minute
)

var server = &envtest.Environment{
	CRDDirectoryPaths:     []string{checkout.Path("config", "crd", "bases")},
	ErrorIfCRDPathMissing: true,
}

// config starts the API server at its first call.
var config = sync.OnceValues(func() (*rest.Config, error) {
	ctrl.SetLogger(logr.Discard())
	assets, err := checkout.Assets()
	if err != nil {
		return nil, err
	}
	server.BinaryAssetsDirectory = assets
	config, err := server.Start()
	if err != nil {
		return nil, fmt.Errorf("start an API server, which `make k8s` builds: %w", err)
	}
	config.QPS = -1
	return config, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the API server:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func newClient(t *testing.T) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return must[client.WithWatch](t)(client.NewWithWatch(must[*rest.Config](t)(config()), client.Options{Scheme: scheme}))
}

// viewer makes a user that may watch runs. revoke takes the right away.
func viewer(t *testing.T) (token string, revoke func()) {
	t.Helper()
	api := newClient(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "viewer-"}}
	create(t, api, account)
	meta := metav1.ObjectMeta{Namespace: namespace, Name: account.Name}
	create(t, api, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"jobruns"}, Verbs: []string{"watch"}},
	}})
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account.Name}},
	}
	create(t, api, binding)
	request := &authenticationv1.TokenRequest{}
	if err := api.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token, func() {
		if err := api.Delete(t.Context(), binding); err != nil {
			t.Fatal(err)
		}
	}
}

func create(t *testing.T, api client.Client, object client.Object) {
	t.Helper()
	if err := api.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// trigger creates a run. No webhook is there.
func trigger(t *testing.T, name string) *v1alpha1.JobRun {
	t.Helper()
	run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	run.Spec.JobName = "sync"
	create(t, newClient(t), run)
	patchStatus(t, run, `{"phase":"Pending"}`)
	return run
}

func lease(t *testing.T, run *v1alpha1.JobRun) {
	t.Helper()
	patchStatus(t, run, `{"phase":"Leased","lease":{"generation":1,"holderIdentity":"worker"}}`)
}

func complete(t *testing.T, run *v1alpha1.JobRun) {
	t.Helper()
	patchStatus(t, run, `{"phase":"Completed","finishedGeneration":1}`)
}

func patchStatus(t *testing.T, run *v1alpha1.JobRun, status string) {
	t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":`+status+`}`))
	if err := newClient(t).Status().Patch(t.Context(), run, patch); err != nil {
		t.Fatal(err)
	}
}

// process is a gateway that can be lost.
type process struct {
	net.Listener

	server *gateway.Server
	mu     sync.Mutex
	conns  []net.Conn
}

// Accept remembers the connection.
func (p *process) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.conns = append(p.conns, conn)
	}
	return conn, err
}

// kill ends the gateway as a lost machine does: no connection says good-bye.
func (p *process) kill() {
	_ = p.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.server.Drain()
}

func startGateway(t *testing.T, clock clock.WithTicker, streams events.Options) *process {
	t.Helper()
	config := must[*rest.Config](t)(config())
	http := must[*http.Client](t)(rest.HTTPClientFor(config))
	authenticator, err := gateway.NewAuthenticator(config, http)
	if err != nil {
		t.Fatal(err)
	}
	authorizer, err := webhookv1alpha1.NewAuthorizer(config, http)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Listener: must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))}
	p.server = gateway.NewServer(gateway.Options{
		API: newClient(t), Authenticator: authenticator, Authorizer: authorizer, CallerInFlight: 10000, NamespaceInFlight: 10000,
		Streams: streams, Metrics: prometheus.NewRegistry(), Clock: clock, Log: logr.Discard(),
	})
	tls, err := gateway.SelfSigned(p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	endpoint := &gateway.Endpoint{Server: p.server, Listener: p, TLS: tls}
	go func() { _ = endpoint.Start(context.Background()) }()
	t.Cleanup(p.kill)
	return p
}

func streamURL(address, query string) string {
	return fmt.Sprintf("https://%s/v1/namespaces/%s/events?%s", address, namespace, query)
}
