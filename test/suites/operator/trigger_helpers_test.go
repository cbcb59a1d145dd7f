// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"slices"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// job is the jobName of all runs.
const job = "sync"

// builder builds JobRuns: makeRun("a").key("k").skip().obj.
type builder struct{ obj *v1alpha1.JobRun }

// makeRun starts a run that a Job executes.
func makeRun(name string) builder {
	b := makeWorkerRun(name)
	b.obj.Spec.Template = jobTemplate()
	return b
}

// makeWorkerRun starts a run that an external worker executes.
func makeWorkerRun(name string) builder {
	return builder{&v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns},
		Spec:       v1alpha1.JobRunSpec{JobName: job},
	}}
}

func jobTemplate() *batchv1.JobTemplateSpec {
	return &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "main", Image: "busybox"}},
	}}}}
}

func (b builder) with(change func(*v1alpha1.JobRun)) builder {
	change(b.obj)
	return b
}

func (b builder) key(key string) builder {
	return b.with(func(r *v1alpha1.JobRun) { r.Spec.ConcurrencyKey = key })
}

func (b builder) skip() builder {
	return b.with(func(r *v1alpha1.JobRun) { r.Spec.Coalesce = v1alpha1.CoalesceSkip })
}

func (b builder) delivery(key string) builder {
	return b.with(func(r *v1alpha1.JobRun) { r.Spec.IdempotencyKey = key })
}

// remembered sets idempotencyTTLSeconds.
func (b builder) remembered(seconds int32) builder {
	return b.with(func(r *v1alpha1.JobRun) { r.Spec.IdempotencyTTLSeconds = seconds })
}

// released sets idempotencyRelease to OnFailure.
func (b builder) released() builder {
	return b.with(func(r *v1alpha1.JobRun) { r.Spec.IdempotencyRelease = v1alpha1.IdempotencyReleaseOnFailure })
}

func (b builder) input(json string) builder {
	return b.with(func(r *v1alpha1.JobRun) { r.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(json)} })
}

func (b builder) ttl(seconds int32) builder {
	return b.with(func(r *v1alpha1.JobRun) { r.Spec.TTLSecondsAfterFinished = &seconds })
}

func (b builder) attempts(n int32) builder {
	return b.with(func(r *v1alpha1.JobRun) { r.Spec.MaxAttempts = n })
}

func (b builder) label(name, value string) builder {
	return b.with(func(r *v1alpha1.JobRun) { metav1.SetMetaDataLabel(&r.ObjectMeta, name, value) })
}

// warnings has the Warning headers of an answer.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

type warningsKey struct{}

// warningCollector adds the warnings of a request to the warnings in its context.
type warningCollector struct{}

func (warningCollector) HandleWarningHeaderWithContext(ctx context.Context, _ int, _, text string) {
	if w, ok := ctx.Value(warningsKey{}).(*warnings); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.texts = append(w.texts, text)
	}
}

// trigger creates the run. It returns the created object and the warnings.
func trigger(b builder, opts ...client.CreateOption) (*v1alpha1.JobRun, []string, error) {
	var w warnings
	err := k8s.Create(context.WithValue(ctx, warningsKey{}, &w), b.obj, opts...)
	return b.obj, w.texts, err
}

// created creates a JobRun that must be answered Created.
func created(b builder) *v1alpha1.JobRun {
	GinkgoHelper()
	run, texts, err := trigger(b)
	Expect(err).NotTo(HaveOccurred())
	Expect(texts).To(BeEmpty())
	Expect(run).To(beAnswered(v1alpha1.DispositionCreated, run.Name))
	return run
}

// absorbed creates a JobRun that the run must absorb.
func absorbed(b builder, into *v1alpha1.JobRun) *v1alpha1.JobRun {
	GinkgoHelper()
	receipt, _, err := trigger(b)
	Expect(err).NotTo(HaveOccurred())
	Expect(receipt).To(beAnswered(v1alpha1.DispositionCoalesced, into.Name))
	Expect(receipt.Spec.Admission.RunToken).To(Equal(into.Spec.Admission.Token))
	return receipt
}

func beAnswered(disposition v1alpha1.Disposition, runName string) gomegatypes.GomegaMatcher {
	return HaveField("Spec.Admission", HaveValue(And(
		HaveField("Disposition", disposition), HaveField("RunName", runName),
	)))
}

// refusal returns the Status of an API error.
func refusal(err error) metav1.Status {
	GinkgoHelper()
	var status apierrors.APIStatus
	Expect(errors.As(err, &status)).To(BeTrue(), "want a refusal, got %v", err)
	return status.Status()
}

// fields returns the fields that a refusal names.
func fields(status metav1.Status) []string {
	var found []string
	if status.Details != nil {
		for _, cause := range status.Details.Causes {
			found = append(found, cause.Field)
		}
	}
	return found
}

// keys returns the RunKeys of the namespace whose keys are not free.
func keys() []v1alpha1.RunKey {
	GinkgoHelper()
	var found v1alpha1.RunKeyList
	Expect(k8s.List(ctx, &found, client.InNamespace(ns))).To(Succeed())
	return slices.DeleteFunc(found.Items, func(key v1alpha1.RunKey) bool { return isFree(&key.Spec) })
}

// isFree reports whether a row is left for its notes alone: Jobs that may still appear.
func isFree(row *v1alpha1.RunKeySpec) bool { return runkey.IsFree(row) && row.Owner == nil }

// keyOf returns the row of a concurrencyKey, or nil while the key is free.
func keyOf(key string) *v1alpha1.RunKeySpec {
	GinkgoHelper()
	return rowOf(v1alpha1.ConcurrencyKeyName(job, key))
}

// deliveryOf returns the row of an idempotencyKey, or nil.
func deliveryOf(key string) *v1alpha1.RunKeySpec {
	GinkgoHelper()
	return rowOf(v1alpha1.IdempotencyKeyName(job, key))
}

func rowOf(name string) *v1alpha1.RunKeySpec {
	GinkgoHelper()
	row := &v1alpha1.RunKey{}
	err := k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, row)
	if apierrors.IsNotFound(err) {
		return nil
	}
	Expect(err).NotTo(HaveOccurred())
	if isFree(&row.Spec) {
		return nil
	}
	return &row.Spec
}
