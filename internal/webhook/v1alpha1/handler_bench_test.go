// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"bytes"
	"context"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// emptyClient holds nothing and stores nothing, so a benchmark measures the webhook alone.
type emptyClient struct{ client.Client }

func (emptyClient) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// oneDefinition is a cache with the same definition for each job that is defined.
type oneDefinition struct {
	emptyClient
	definition *v1alpha1.JobDefinition
}

func (c oneDefinition) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	if found, ok := into.(*v1alpha1.JobDefinition); ok && key.Name == c.definition.Name {
		*found = *c.definition // The cache does not copy it either.
		return nil
	}
	return c.emptyClient.Get(ctx, key, into, opts...)
}

func (emptyClient) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func (emptyClient) Create(context.Context, client.Object, ...client.CreateOption) error { return nil }

// benchmarkedTrigger is a trigger of a job with the definition syncUsers.
const benchmarkedTrigger = `
apiVersion: batch.jobrun.dev/v1alpha1
kind: JobRun
metadata: {name: b, namespace: default, labels: {team: data}, annotations: {note: nightly}}
spec: {jobName: sync-users, input: {org: acme}}
`

const benchmarkedRun = `
apiVersion: batch.jobrun.dev/v1alpha1
kind: JobRun
metadata: {name: b, namespace: default, labels: {team: data}, annotations: {note: nightly}}
spec:
  jobName: job
  concurrencyKey: k
  coalesce: Skip
  input: {org: acme, tables: [users, orders], since: "2026-01-01T00:00:00Z"}
  template:
    spec:
      backoffLimit: 3
      template:
        metadata: {labels: {team: data}}
        spec:
          restartPolicy: Never
          containers:
          - name: main
            image: registry.example.com/sync:1.2.3
            args: [sync, --full]
            env:
            - {name: REGION, value: eu}
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: sync, key: token}}}
            resources: {requests: {cpu: 500m, memory: 512Mi}, limits: {memory: 1Gi}}
            volumeMounts: [{name: work, mountPath: /work}]
          volumes: [{name: work, emptyDir: {sizeLimit: 2Gi}}]
`

// BenchmarkHandle measures the cost of one admission: of a trigger of a defined job, and of a run with a template.
func BenchmarkHandle(b *testing.B) {
	raw, err := yaml.YAMLToJSON([]byte(benchmarkedRun))
	if err != nil {
		b.Fatal(err)
	}
	defined, err := yaml.YAMLToJSON([]byte(benchmarkedTrigger))
	if err != nil {
		b.Fatal(err)
	}
	withoutKey := bytes.ReplaceAll(raw, []byte(`"coalesce":"Skip","concurrencyKey":"k",`), nil)
	for _, bc := range []struct {
		name      string
		operation admissionv1.Operation
		raw, old  []byte
	}{
		{"Create/defined", admissionv1.Create, defined, nil},
		{"Create/reserves", admissionv1.Create, raw, nil},
		{"Create/keyless", admissionv1.Create, withoutKey, nil}, // The schema is not used.
		{"Update", admissionv1.Update, raw, raw},
	} {
		b.Run(bc.name, func(b *testing.B) {
			handler := newBenchmarkedHandler(b, nil)
			b.ReportAllocs()
			for b.Loop() {
				response := handler.Handle(b.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
					UID: "x", Operation: bc.operation, Namespace: wrappers.Namespace,
					Object: runtime.RawExtension{Raw: bc.raw}, OldObject: runtime.RawExtension{Raw: bc.old},
				}})
				if !response.Allowed {
					b.Fatalf("refused: %+v", response.Result)
				}
			}
		})
	}
}

// BenchmarkRights measures what it costs to ask for the rights of a trigger whose answer is remembered, beside a trigger of which
// nobody is asked. The user is a ServiceAccount.
func BenchmarkRights(b *testing.B) {
	raw, err := yaml.YAMLToJSON([]byte("metadata: {name: b, namespace: default}\nspec: {jobName: job, input: {org: acme}}\n"))
	if err != nil {
		b.Fatal(err)
	}
	const account = "system:serviceaccount:default:nightly-trigger"
	caller := authenticationv1.UserInfo{
		Username: account, UID: "9f5c4c86-8a3f-4a0b-8b1e-64a1c1d9a1f5",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"},
		Extra: map[string]authenticationv1.ExtraValue{
			"authentication.kubernetes.io/credential-id": {"JTI=0b5ad9a4-9b62-4b0e-8f0d-3e1d8e5b7a51"},
			"authentication.kubernetes.io/node-name":     {"node-1"},
			"authentication.kubernetes.io/pod-name":      {"nightly-28467840-x2v9q"},
			"authentication.kubernetes.io/pod-uid":       {"6d0d8b8c-41f1-4a7e-9c63-5ac0f3f2d2e7"},
		},
	}
	for name, asks := range map[string]authorizer.Authorizer{"asked": newAuthorizer(b, newReviewer(account)), "notAsked": nil} {
		b.Run(name, func(b *testing.B) {
			handler := newBenchmarkedHandler(b, asks)
			b.ReportAllocs()
			for b.Loop() {
				response := handler.Handle(b.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
					UID: "x", Operation: admissionv1.Create, Namespace: wrappers.Namespace, UserInfo: caller, Object: runtime.RawExtension{Raw: raw},
				}})
				if !response.Allowed {
					b.Fatalf("refused: %+v", response.Result)
				}
			}
		})
	}
}

func newBenchmarkedHandler(b *testing.B, asks authorizer.Authorizer) *webhook.Handler {
	b.Helper()
	clock := clocktesting.NewFakePassiveClock(wrappers.Epoch.Time)
	handler, err := webhook.NewHandler(webhook.Options{
		Keys:   keystore.New(keystore.Options{Cached: emptyClient{}, Live: emptyClient{}, Writer: emptyClient{}, Clock: clock}),
		Cached: emptyClient{}, Live: emptyClient{}, Authorizer: asks,
		Definitions: oneDefinition{definition: definitionOf(b, "sync-users", syncUsers+definedTemplate)},
	})
	if err != nil {
		b.Fatal(err)
	}
	return handler
}
