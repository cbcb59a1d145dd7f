package v1alpha1

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	triggers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobrun_triggers_total",
		Help: "Triggers admitted, by disposition: Created, Coalesced or Idempotent.",
	}, []string{"disposition"})
	conflicts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "jobrun_trigger_conflicts_total",
		Help: "Triggers refused because a run is pending for their key.",
	})
)

func init() {
	metrics.Registry.MustRegister(triggers, conflicts)
}
