// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const decision = "authorization.k8s.io/decision"

// unusedFor has the rights that the operator needs but does not use in this suite, and the reasons.
var unusedFor = map[string]string{
	`patch events.events.k8s.io [] in namespace ""`:                    "the recorder patches only an Event that is repeated word for word, and each Event of ours names another version of its run",
	`list leases.coordination.k8s.io [] in namespace "jobrun-system"`:  "only an operator with --namespaces uses it",
	`watch leases.coordination.k8s.io [] in namespace "jobrun-system"`: "only an operator with --namespaces uses it",
}

// These are the last specs of the suite. They check the operator's requests during all other specs. If only a part of
// the suite is run, they may find unused rights.
var _ = Describe("The operator's role", Ordered, Label(local), SpecPriority(-1), func() {
	var requests []auditv1.Event

	BeforeAll(func() {
		rotateCertificates()
		requests = requestsOf("system:serviceaccount:" + operator.Namespace + ":" + operator.ServiceAccount)
		Expect(requests).NotTo(BeEmpty())
	})

	It("allows every request of the operator", func() {
		rights := operatorsRights()
		var refused []string
		for _, request := range requests {
			allowed := request.Annotations[decision] == "allow" || duringAbsence(request.StageTimestamp.Time)
			if !allowed || (request.ObjectRef != nil && !covered(request, rights)) {
				refused = append(refused, request.Verb+" "+request.RequestURI)
			}
		}
		Expect(refused).To(BeEmpty())
	})

	It("grants no right that the operator did not use", func() {
		var unused []string
		for _, r := range operatorsRights() {
			if !used(r, requests) && unusedFor[r.String()] == "" {
				unused = append(unused, r.String())
			}
		}
		Expect(unused).To(BeEmpty())
	})
})

func covered(request auditv1.Event, rights []right) bool {
	for _, r := range rights {
		if r.covers(request) {
			return true
		}
	}
	return false
}

func used(r right, requests []auditv1.Event) bool {
	for _, request := range requests {
		if request.ObjectRef != nil && r.covers(request) {
			return true
		}
	}
	return false
}

// absence is a time during which the API server was down or had not read all roles yet.
type absence struct{ from, to time.Time }

var absences []absence

func withoutAPIServer(f func()) {
	from := time.Now()
	f()
	absences = append(absences, absence{from, time.Now()})
}

func duringAbsence(t time.Time) bool {
	return slices.ContainsFunc(absences, func(a absence) bool { return t.After(a.from) && t.Before(a.to) })
}

// requestsOf returns the requests of a user in the audit log, in any order.
func requestsOf(user string) []auditv1.Event {
	GinkgoHelper()
	files, err := filepath.Glob(strings.TrimSuffix(plane.AuditLogFile(), ".log") + "*.log") // includes rotated logs
	Expect(err).NotTo(HaveOccurred())
	var requests []auditv1.Event
	for _, file := range files {
		log, err := os.Open(file)
		Expect(err).NotTo(HaveOccurred())
		defer log.Close()
		lines := bufio.NewReader(log)
		for {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				break // The API server has not written the rest of this line yet.
			}
			Expect(err).NotTo(HaveOccurred())
			if !bytes.Contains(line, []byte(user)) {
				continue // Most lines are of other users, and there are many.
			}
			var event auditv1.Event
			Expect(json.Unmarshal(line, &event)).To(Succeed(), "%s", line)
			if event.User.Username == user {
				requests = append(requests, event)
			}
		}
	}
	return requests
}

// rotateCertificates starts a manager that makes the webhook's certificate itself, as config/default configures it, and elects
// a leader. It fills its caches by lists, as with older API servers. The certificate is made for a Secret that does not
// exist, and again for an empty one.
func rotateCertificates() {
	GinkgoHelper()
	kubeconfig, err := plane.ServiceAccountKubeconfig(ctx, operator.Namespace, operator.ServiceAccount)
	Expect(err).NotTo(HaveOccurred())
	mutating, validating := caBundles()
	_, err = plane.Run(controlplane.ProcessSpec{
		Name: "manager-with-rotation",
		Path: checkout.Path("bin", "manager"),
		Args: []string{
			"--cert-rotation", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-elect",
		},
		Env: []string{"KUBECONFIG=" + kubeconfig, "KUBE_FEATURE_WatchListClient=false"},
	})
	Expect(err).NotTo(HaveOccurred())
	var secret corev1.Secret
	name := types.NamespacedName{Namespace: operator.Namespace, Name: "jobrun-webhook-server-cert"}
	isTrusted := func(g Gomega) {
		g.Expect(k8s.Get(ctx, name, &secret)).To(Succeed())
		g.Expect(secret.Data).To(HaveKey("ca.crt"))
		newMutating, newValidating := caBundles()
		g.Expect(string(newMutating)).To(And(HavePrefix(string(secret.Data["ca.crt"])), ContainSubstring(string(mutating))))
		g.Expect(string(newValidating)).To(And(HavePrefix(string(secret.Data["ca.crt"])), ContainSubstring(string(validating))))
	}
	Eventually(isTrusted).Should(Succeed())
	secret.Data = nil
	Expect(k8s.Update(ctx, &secret)).To(Succeed())
	Eventually(isTrusted).Should(Succeed())
}

// caBundles returns the CAs in the two webhook configurations.
func caBundles() (mutating, validating []byte) {
	GinkgoHelper()
	var webhooks admissionregistrationv1.MutatingWebhookConfiguration
	Expect(k8s.Get(ctx, types.NamespacedName{Name: "jobrun-mutating-webhook-configuration"}, &webhooks)).To(Succeed())
	var fence admissionregistrationv1.ValidatingWebhookConfiguration
	Expect(k8s.Get(ctx, types.NamespacedName{Name: "jobrun-validating-webhook-configuration"}, &fence)).To(Succeed())
	return webhooks.Webhooks[0].ClientConfig.CABundle, fence.Webhooks[0].ClientConfig.CABundle
}
