// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway"
)

// podTemplate returns a template for a run that executes as a Job.
func podTemplate() *batchv1.JobTemplateSpec {
	template := &batchv1.JobTemplateSpec{}
	template.Spec.Template.Spec = corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "busybox"}},
	}
	return template
}

// startLogging starts a run whose Pod has logged these lines and runs on, and returns its name. The Job is the operator's.
// This plays the Job controller and the kubelet: the API server reads the log from it.
func startLogging(lines ...string) string {
	GinkgoHelper()
	run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "logging"}, Spec: v1alpha1.JobRunSpec{JobName: "logging"}}
	run.Spec.Template = podTemplate()
	Expect(k8s.Create(ctx, run)).To(Succeed())
	job := &batchv1.Job{}
	Eventually(func() error { return k8s.Get(ctx, client.ObjectKey{Namespace: ns, Name: "logging-1"}, job) }).Should(Succeed())
	pod := &corev1.Pod{ObjectMeta: job.Spec.Template.ObjectMeta, Spec: job.Spec.Template.Spec}
	pod.Namespace, pod.Name, pod.Spec.NodeName = ns, "logging-1-x", startKubelet(lines)
	Expect(controllerutil.SetControllerReference(job, pod, scheme)).To(Succeed())
	Expect(k8s.Create(ctx, pod)).To(Succeed())
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "main", Image: "busybox", ImageID: "busybox", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	Expect(k8s.Status().Update(ctx, pod)).To(Succeed())
	return run.Name
}

// startKubelet serves the log of all containers of a node, and returns the node's name. The log has tailLines, and with follow
// it ends when the spec ends.
func startKubelet(lines []string) string {
	GinkgoHelper()
	stop := make(chan struct{})
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, shown := r.URL.Query(), lines
		if n, err := strconv.Atoi(query.Get("tailLines")); err == nil {
			shown = lines[max(0, len(lines)-n):]
		}
		_, _ = io.WriteString(w, strings.Join(shown, ""))
		if query.Get("follow") == "true" {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-stop:
			}
		}
	}))
	DeferCleanup(kubelet.Close)
	DeferCleanup(func() { close(stop) })
	host, port, err := net.SplitHostPort(kubelet.Listener.Addr().String())
	Expect(err).NotTo(HaveOccurred())
	number, err := strconv.ParseInt(port, 10, 32)
	Expect(err).NotTo(HaveOccurred())
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	Expect(k8s.Create(ctx, node)).To(Succeed())
	DeferCleanup(func() { Expect(k8s.Delete(ctx, node)).To(Succeed()) })
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	Expect(k8s.Status().Update(ctx, node)).To(Succeed())
	return node.Name
}

// logsPath is the route of the logs of a run.
func logsPath(run, query string) string { return "/v1/namespaces/NS/runs/" + run + "/logs" + query }

var _ = Describe("the logs of a run", func() {
	It("are those of its Pod, for who may read them", func() {
		run := startLogging("one\n", "two\n")
		Expect(gate.send(editor, "GET", logsPath(run, ""), "").body).To(Equal("one\ntwo\n"))
		Expect(gate.send(editor, "GET", logsPath(run, "?tailLines=1&container=main"), "").body).To(Equal("two\n"))
		Expect(refused(gate.send(viewer, "GET", logsPath(run, ""), ""), 403).Message).To(ContainSubstring("get on pods/log"))
		refused(gate.send(editor, "GET", logsPath(run, "?previous=true"), ""), 404)
		refused(gate.send(editor, "GET", logsPath(run, "?container=other"), ""), 400)
	})

	It("of a worker are the worker's", func() {
		Expect(refused(gate.send(editor, "GET", logsPath(waiting(), ""), ""), 404).Message).To(ContainSubstring("external worker"))
	})

	It("do not exist before its Pod does", func() {
		run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "early"}, Spec: v1alpha1.JobRunSpec{JobName: "early"}}
		run.Spec.Template = podTemplate()
		Expect(k8s.Create(ctx, run)).To(Succeed())
		Expect(refused(gate.send(editor, "GET", logsPath("early", ""), ""), 409).Message).To(ContainSubstring("has no Pod yet"))
	})

	It("are not read unless the gateway is told to", func() {
		gate := startGateway(func(o *gateway.Options) { o.OpenLog = nil })
		Expect(refused(gate.send(editor, "GET", logsPath("any", ""), ""), 404).Message).To(ContainSubstring("--gateway-logs"))
	})

	It("are followed until the gateway drains", func() {
		run := startLogging("one\n")
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, gate.url+strings.ReplaceAll(logsPath(run, "?follow=true"), "NS", ns), http.NoBody)
		Expect(err).NotTo(HaveOccurred())
		request.Header.Set("Authorization", "Bearer "+editor)
		response, err := gate.client.Do(request)
		Expect(err).NotTo(HaveOccurred())
		defer response.Body.Close()
		log := bufio.NewReader(response.Body)
		Expect(log.ReadString('\n')).To(Equal("one\n"))
		gate.server.Drain()
		_, err = log.ReadString('\n')
		Expect(err).To(And(HaveOccurred(), Not(MatchError(io.EOF))))
	})
})
