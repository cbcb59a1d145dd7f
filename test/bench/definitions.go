// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	manyDefinitions = 10_000
	sampledReceipts = 50
)

// definition returns the definition of the job of jobRun: the template of the README's example, a schema of its input, and
// a key for each org.
func definition(ns, name string) *v1alpha1.JobDefinition {
	return &v1alpha1.JobDefinition{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.JobDefinitionSpec{
			InputSchema: &v1alpha1.InputSchema{OpenAPIV3Schema: &apiextensionsv1.JSON{Raw: []byte(`{"type":"object","required":["org"],"properties":{
				"org":{"type":"string","maxLength":40},"full":{"type":"boolean","default":false},"since":{"type":"string","format":"date-time"}}}`)}},
			ConcurrencyKeyExpression: `"org_" + input.org`,
			Defaults:                 &v1alpha1.JobRunDefaults{Coalesce: v1alpha1.CoalesceSkip},
			Template:                 &batchv1.JobTemplateSpec{Spec: jobSpec()},
		},
	}
}

// definedRun returns a trigger of that definition. Its key is org_<org>.
func definedRun(ns, name, org string) *v1alpha1.JobRun {
	run := jobRun(ns, name)
	run.Spec.Template = nil
	run.Spec.Input = &apiextensionsv1.JSON{Raw: fmt.Appendf(nil, `{"org":%q,"full":false,"since":"2026-01-01T00:00:00Z"}`, org)}
	return run
}

// measureDefinitions compares triggers of a defined job with those that bring the same template and key, and measures what
// many definitions cost the manager.
func measureDefinitions(ctx context.Context, w *world, o Options) ([]Result, error) {
	inline := admissionCase{
		trigger: func(ns string, i int) *v1alpha1.JobRun {
			return skipping(keyed(jobRun(ns, fmt.Sprintf("run-%d", i)), fmt.Sprintf("org_%d", i)))
		},
		expect: answered(v1alpha1.DispositionCreated),
	}
	defined := admissionCase{
		trigger: func(ns string, i int) *v1alpha1.JobRun {
			return definedRun(ns, fmt.Sprintf("run-%d", i), strconv.Itoa(i))
		},
		expect: answered(v1alpha1.DispositionCreated),
	}
	var ours, theirs []admitted
	for round := range o.Rounds + 1 {
		with, err := w.namespace(ctx)
		if err != nil {
			return nil, err
		}
		if err := w.jobruns.Create(ctx, definition(with, "sync-users")); err != nil {
			return nil, err
		}
		without, err := w.namespace(ctx)
		if err != nil {
			return nil, err
		}
		creates := o.size(admissionCreates)
		if err := alternate(round,
			func() error { return defined.side(ctx, w, with, w.jobruns, creates, &ours) },
			func() error { return inline.side(ctx, w, without, w.jobruns, creates, &theirs) },
		); err != nil {
			return nil, err
		}
	}
	results := defined.results("create-defined", "template in the trigger", Goal{Kind: Ratio, AtLeast: 1.4}, ours[1:], theirs[1:])
	results[0].What = "create throughput, 32 callers, distinct keys, job with a definition"
	memory, err := w.definitionMemory(ctx, o)
	return append(results, memory), err
}

// definitionMemory measures the memory of a manager beside many definitions, and without them.
func (w *world) definitionMemory(ctx context.Context, o Options) (Result, error) {
	var with, without storedFigures
	ns, err := w.namespace(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := w.memory(ctx, &without); err != nil {
		return Result{}, err
	}
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(admissionCallers)
	for i := range o.size(manyDefinitions) {
		group.Go(func() error { return w.jobruns.Create(limited, definition(ns, fmt.Sprintf("job-%d", i))) })
	}
	if err := group.Wait(); err != nil {
		return Result{}, err
	}
	if err := w.memory(ctx, &with); err != nil {
		return Result{}, err
	}
	return compared(Result{
		Row: "memory-definitions", What: fmt.Sprintf("manager RSS, %d definitions", o.size(manyDefinitions)), Against: "none",
		Unit: "MiB", Goal: Goal{Kind: Stated},
	}, with.memory, without.memory, differences), w.admin.DeleteAllOf(ctx, &v1alpha1.JobDefinition{}, client.InNamespace(ns))
}

// measureReceipts measures what etcd stores for a receipt of a defined job that has its outcome.
func measureReceipts(ctx context.Context, w *world, o Options) ([]Result, error) {
	var bytes []float64
	for range o.Rounds {
		size, err := w.receiptSize(ctx)
		if err != nil {
			return nil, err
		}
		bytes = append(bytes, size)
	}
	return []Result{alone(Result{
		Row: "receipt-bytes", What: "bytes in etcd per receipt, job with a definition", Unit: "bytes", Goal: Goal{Kind: Count, AtMost: 1024},
	}, bytes)}, nil
}

func (w *world) receiptSize(ctx context.Context) (float64, error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return 0, err
	}
	suspended := definition(ns, "sync-users")
	suspended.Spec.Suspend = new(true)
	if err := w.jobruns.Create(ctx, suspended); err != nil {
		return 0, err
	}
	waiting := definedRun(ns, "waiting", "acme")
	if err := w.jobruns.Create(ctx, waiting); err != nil {
		return 0, err
	}
	if err := w.inPhase(ctx, waiting, v1alpha1.PhasePending); err != nil {
		return 0, err
	}
	receipts := storm{
		api: w.jobruns, callers: 1, creates: sampledReceipts, expect: answered(v1alpha1.DispositionCoalesced),
		trigger: func(i int) *v1alpha1.JobRun { return definedRun(ns, fmt.Sprintf("receipt-%d", i), "acme") },
	}
	if _, err := receipts.rate(ctx); err != nil {
		return 0, err
	}
	resumed := suspended.DeepCopy()
	resumed.Spec.Suspend = nil
	if err := w.admin.Patch(ctx, resumed, client.MergeFrom(suspended)); err != nil {
		return 0, err
	}
	if err := w.inPhase(ctx, waiting, v1alpha1.PhaseCompleted); err != nil {
		return 0, err
	}
	if err := w.quiet(ctx); err != nil {
		return 0, err
	}
	found, err := w.etcd.Get(ctx, registry+"batch.jobrun.dev/jobruns/"+ns+"/receipt-", clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	total := 0
	for _, kv := range found.Kvs {
		total += len(kv.Value)
	}
	if len(found.Kvs) != sampledReceipts {
		return 0, fmt.Errorf("%d receipts are stored, not %d", len(found.Kvs), sampledReceipts)
	}
	return float64(total) / sampledReceipts, w.wipe(ctx, ns)
}
