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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	// manyDefinitions is not scaled: it is what the row states. They are in several namespaces, so that each can be emptied with one
	// request.
	manyDefinitions      = 10_000
	definitionNamespaces = 10
	sampledReceipts      = 50
	// askedCreates is the number of triggers that measure the authorization, per round and side. The webhook remembers a right for
	// 10 s, so at most a few of them ask the API server.
	askedCreates = 400
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
	if err := w.awaitDefinitions(ctx); err != nil {
		return nil, err
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
	authorization, err := w.authorization(ctx, o)
	if err != nil {
		return nil, err
	}
	memory, err := w.definitionMemory(ctx)
	return append(append(results, authorization), memory...), err
}

// awaitDefinitions waits until definitions complete triggers. The benchmark holds the Lease of the leader without being a member, so
// for a while it counts as a replica of an older version.
func (w *world) awaitDefinitions(ctx context.Context) error {
	ns, err := w.namespace(ctx)
	if err != nil {
		return err
	}
	if err := w.jobruns.Create(ctx, definition(ns, "sync-users")); err != nil {
		return err
	}
	return await(ctx, "definitions to complete triggers", func() (bool, error) {
		err := w.jobruns.Create(ctx, definedRun(ns, "probe", "acme"), client.DryRunAll)
		if apierrors.IsServiceUnavailable(err) {
			return false, nil
		}
		return true, err
	})
}

// authorization measures what it costs one trigger to ask for the right of its user, while the webhook remembers the answer. The
// other user is the operator, about which neither webhook nor policy asks.
func (w *world) authorization(ctx context.Context, o Options) (Result, error) {
	operators := serviceaccount.MakeUsername(operator.Namespace, operator.ServiceAccount)
	var asked, exempt []float64
	for round := range o.Rounds + 1 {
		if err := alternate(round,
			func() error { return w.latencyAs(ctx, o, "bench-user", &asked) },
			func() error { return w.latencyAs(ctx, o, operators, &exempt) },
		); err != nil {
			return Result{}, err
		}
	}
	return compared(Result{
		Row: "authorization", What: "median latency of a trigger of a defined job, one caller, whose right is remembered",
		Against: "the operator, which is not asked about", Unit: "ms", Goal: Goal{Kind: Stated},
	}, asked[1:], exempt[1:], differences), nil
}

// latencyAs adds the median latency of the triggers of a user.
func (w *world) latencyAs(ctx context.Context, o Options, user string, figures *[]float64) error {
	config := rest.CopyConfig(w.callers)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{callerGroup}}
	api, err := newClient(config, oursScheme)
	if err != nil {
		return err
	}
	ns, err := w.namespace(ctx)
	if err != nil {
		return err
	}
	if err := w.jobruns.Create(ctx, definition(ns, "sync-users")); err != nil {
		return err
	}
	if err := w.quiet(ctx); err != nil {
		return err
	}
	s := storm{
		api: api, callers: 1, creates: 1, expect: answered(v1alpha1.DispositionCreated),
		trigger: func(int) *v1alpha1.JobRun { return definedRun(ns, "warm-up", "warm-up") },
	}
	if _, _, err := s.send(ctx); err != nil {
		return err
	}
	s.creates = o.size(askedCreates)
	s.trigger = func(i int) *v1alpha1.JobRun { return definedRun(ns, fmt.Sprintf("run-%d", i), strconv.Itoa(i)) }
	_, latencies, err := s.send(ctx)
	if err != nil {
		return err
	}
	*figures = append(*figures, milliseconds(quantile(seconds(latencies), 0.5)))
	return w.wipe(ctx, ns)
}

// definitionMemory measures the memory of a manager beside many definitions, and without them.
func (w *world) definitionMemory(ctx context.Context) ([]Result, error) {
	var with, without storedFigures
	if err := w.memory(ctx, &without); err != nil {
		return nil, err
	}
	var namespaces []string
	for range definitionNamespaces {
		ns, err := w.namespace(ctx)
		if err != nil {
			return nil, err
		}
		namespaces = append(namespaces, ns)
	}
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(admissionCallers)
	for i := range manyDefinitions {
		group.Go(func() error {
			return w.jobruns.Create(limited, definition(namespaces[i%definitionNamespaces], fmt.Sprintf("job-%d", i)))
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := w.memory(ctx, &with); err != nil {
		return nil, err
	}
	for _, ns := range namespaces {
		if err := w.admin.DeleteAllOf(ctx, &v1alpha1.JobDefinition{}, client.InNamespace(ns)); err != nil {
			return nil, err
		}
	}
	stated := Goal{Kind: Stated}
	all := compared(Result{
		Row: "memory-definitions", What: fmt.Sprintf("manager RSS, %d definitions", manyDefinitions), Against: "none", Unit: "MiB", Goal: stated,
	}, with.memory, without.memory, differences)
	return []Result{all, alone(Result{Row: "memory-definition", What: "... per definition", Unit: "KiB", Goal: stated},
		each(all.Value.Rounds, func(mebibytes float64) float64 { return mebibytes * 1024 / manyDefinitions }))}, nil
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
