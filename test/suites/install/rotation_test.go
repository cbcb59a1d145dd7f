// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// drainPatience exceeds --drain-timeout.
const drainPatience = 3 * time.Minute

// While the certificate is lost, emptied and spoilt, and replicas are replaced, the API server refuses no trigger and no Job.
func TestCertificatesChangeWithoutARefusal(t *testing.T) {
	g := NewWithT(t)
	service, err := controlplane.NewBalancer()
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { g.Expect(service.Close()).To(Succeed()) }()
	c := startRotationCluster(t, service.Addr())
	binary := managerBinary(t)
	pods := &deployment{cluster: c, service: service, binary: binary}
	defer pods.stopping.Wait()
	pods.start(t)
	pods.start(t)

	observed := observe(t, c, pods)
	change := func(what string, do func() error) {
		before := c.certificate(t)()
		g.Expect(do()).To(Succeed(), what)
		pods.awaitServed(t, Not(Equal(before)))
	}
	change("delete the Secret", func() error { return c.admin.Delete(t.Context(), c.secret(t)) })
	change("empty the Secret", func() error {
		secret := c.secret(t)
		secret.Data = nil
		return c.admin.Update(t.Context(), secret)
	})
	change("spoil the Secret", func() error {
		secret := c.secret(t)
		secret.Data[corev1.TLSCertKey] = []byte("no certificate")
		return c.admin.Update(t.Context(), secret)
	})
	change("store the certificate of another host", func() error {
		if _, err := controlplane.NewServingCert(c.Dir()+"/other", "other.example"); err != nil {
			return err
		}
		secret := c.secret(t)
		for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			if secret.Data[key], err = os.ReadFile(filepath.Join(c.Dir(), "other", key)); err != nil {
				return err
			}
		}
		return c.admin.Update(t.Context(), secret)
	})
	change("delete the Secret, and replace both replicas", func() error {
		if err := c.admin.Delete(t.Context(), c.secret(t)); err != nil {
			return err
		}
		pods.replaceOldest(t)
		pods.replaceOldest(t)
		return nil
	})
	before := c.certificate(t)()
	_, err = c.kubectl("apply", "--server-side", "-f", c.installer)
	g.Expect(err).NotTo(HaveOccurred())
	pods.replaceOldest(t)
	pods.awaitServed(t, Equal(before))
	pods.stopping.Wait()

	triggers, refusals := observed()
	g.Expect(refusals).To(BeEmpty())
	g.Expect(triggers).To(BeNumerically(">", 200))
	g.Eventually(func() (int, error) {
		var jobs batchv1.JobList
		err := c.admin.List(t.Context(), &jobs)
		return len(jobs.Items), err
	}).WithTimeout(patience).Should(Equal(triggers))
	g.Expect(c.failedJobCreates(t)).To(BeEmpty())
	g.Expect(c.refusedToOperator(t)).To(BeEmpty())
}

// startRotationCluster starts a control plane of its own. Its API server calls the webhook through the installed Service, so
// it checks the certificate as in a real cluster.
func startRotationCluster(t *testing.T, address string) *cluster {
	t.Helper()
	plane, err := controlplane.Start(t.Context(), controlplane.Options{NoScheduler: true, NoControllerManager: true, AuditLog: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := install(plane, serviceAt(address))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serviceAt makes the webhook's Service lead to an address of this machine.
func serviceAt(address string) controlplane.Transform {
	return func(object *unstructured.Unstructured) error {
		host, portText, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		port, err := strconv.ParseInt(portText, 10, 64)
		if err != nil {
			return err
		}
		switch {
		case object.GetKind() == "Service" && object.GetName() == "jobrun-webhook-service":
			object.Object["spec"] = map[string]any{"type": "ExternalName", "externalName": host}
		case object.GroupVersionKind().Group == "admissionregistration.k8s.io":
			webhooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
			if err != nil || webhooks == nil {
				return err
			}
			for _, webhook := range webhooks {
				if err := unstructured.SetNestedField(webhook.(map[string]any), port, "clientConfig", "service", "port"); err != nil {
					return err
				}
			}
			return unstructured.SetNestedSlice(object.Object, webhooks, "webhooks")
		}
		return nil
	}
}

// deployment does what a Deployment and a Service do with replicas.
type deployment struct {
	*cluster
	service  *controlplane.Balancer
	binary   string
	started  int
	stopping sync.WaitGroup

	mu       sync.Mutex // guards replicas
	replicas []*replica
}

func (d *deployment) ready() []*replica {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.replicas)
}

// set makes these replicas the ready ones.
func (d *deployment) set(replicas []*replica) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replicas = replicas
	addresses := make([]string, 0, len(replicas))
	for _, r := range replicas {
		addresses = append(addresses, r.webhook)
	}
	d.service.SetBackends(addresses...)
}

// start starts a replica with these arguments, too, and waits until it is ready.
func (d *deployment) start(t *testing.T, args ...string) {
	t.Helper()
	d.started++
	r := d.startReplica(t, d.binary, "manager-"+strconv.Itoa(d.started), args...)
	r.awaitReady(t)
	d.set(append(d.ready(), r))
}

// replaceOldest replaces a replica as a rolling update does: first the new one is ready, then the old one gets no more
// connections, and is asked to end. Nobody waits for its end.
func (d *deployment) replaceOldest(t *testing.T) {
	t.Helper()
	d.start(t)
	replicas := d.ready()
	d.set(replicas[1:])
	d.stopping.Go(func() {
		if err := replicas[0].Stop(drainPatience); err != nil {
			t.Error(err)
		}
	})
}

// awaitServed waits until each replica serves the certificate in the Secret, and that is one that is wanted.
func (d *deployment) awaitServed(t *testing.T, wanted types.GomegaMatcher) {
	t.Helper()
	for _, r := range d.ready() {
		NewWithT(t).Eventually(func(g Gomega) {
			served, err := d.servedBy(t, r)()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(served).To(wanted)
			var secret corev1.Secret
			g.Expect(d.admin.Get(t.Context(), secretKey, &secret)).To(Succeed())
			g.Expect(leafOf(secret.Data[corev1.TLSCertKey])).To(Equal(served))
		}).WithTimeout(patience).Should(Succeed(), r.Name)
	}
}

// observe creates a JobRun each 100 ms, and checks each 50 ms that each ready replica serves a certificate that the API
// server trusts. The returned function ends that, and returns the number of triggers and what failed.
func observe(t *testing.T, c *cluster, d *deployment) (end func() (int, []string)) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	var mu sync.Mutex
	var failed []string
	fail := func(what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		failed = append(failed, time.Now().Format(time.StampMilli)+" "+what+": "+err.Error())
	}
	triggers := 0
	done.Go(func() {
		wait.UntilWithContext(ctx, func(context.Context) {
			triggers++
			if err := c.admin.Create(t.Context(), jobRun(triggers)); err != nil {
				fail("a trigger", err)
			}
		}, 100*time.Millisecond)
	})
	done.Go(func() {
		wait.UntilWithContext(ctx, func(context.Context) {
			for _, r := range d.ready() {
				// A replica that was replaced meanwhile may be down.
				if _, err := c.servedBy(t, r)(); err != nil && slices.Contains(d.ready(), r) {
					fail(r.Name, err)
				}
			}
		}, 50*time.Millisecond)
	})
	return func() (int, []string) {
		cancel()
		done.Wait()
		return triggers, failed
	}
}

func jobRun(n int) *v1alpha1.JobRun {
	pod := corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "main", Image: "busybox"}},
	}}
	return &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: fmt.Sprintf("run-%d", n)},
		Spec: v1alpha1.JobRunSpec{
			JobName:        "sync",
			ConcurrencyKey: strconv.Itoa(n),
			Template:       &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: pod}},
		},
	}
}

// failedJobCreates returns the creates of Jobs that the API server did not carry out, with their answers. It leaves out those
// that a replica sent when it stopped, because the replica does not wait for the answer.
func (c *cluster) failedJobCreates(t *testing.T) []string {
	t.Helper()
	var failed []string
	c.audit(t, func(event auditv1.Event) {
		if ref := event.ObjectRef; ref != nil && ref.Resource == "jobs" && event.Verb == "create" && event.ResponseStatus != nil &&
			event.ResponseStatus.Code != http.StatusCreated &&
			!strings.HasSuffix(event.ResponseStatus.Message, "context canceled") {
			failed = append(failed, event.RequestURI+": "+event.ResponseStatus.Message)
		}
	})
	return failed
}

// audit calls do for each event of the audit log.
func (c *cluster) audit(t *testing.T, do func(auditv1.Event)) {
	t.Helper()
	log, err := os.Open(c.AuditLogFile())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for decoder := json.NewDecoder(log); ; {
		var event auditv1.Event
		err := decoder.Decode(&event)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		do(event)
	}
}
