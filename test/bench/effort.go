package bench

import (
	"context"

	"github.com/jobrun-dev/jobrun/test/operator"
)

// effort is what a manager has done since it started.
type effort struct {
	reconciles float64
	// calls are requests to the API server, those that send Events included.
	calls float64
}

func (w *world) effort(ctx context.Context) (effort, error) {
	metrics, err := w.metrics(ctx)
	return effort{
		reconciles: metrics.Sum("controller_runtime_reconcile_total"),
		calls:      metrics.Sum("rest_client_requests_total"),
	}, err
}

// metrics are the manager's, which serves them a moment after it is ready.
func (w *world) metrics(ctx context.Context) (metrics operator.Metrics, err error) {
	return metrics, await(ctx, "the manager's metrics", func() (bool, error) {
		metrics, err = w.op.Metrics(ctx, w.manager())
		return err == nil, nil
	})
}
