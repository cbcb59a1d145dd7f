// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// alertQueries returns the expressions of the alerts by name.
func alertQueries(t *testing.T) map[string]string {
	t.Helper()
	objects := rendered(t, map[string]any{"monitoring": map[string]any{"rules": map[string]any{"enabled": true}}})
	rules := as[monitoringv1.PrometheusRule](t, objects["PrometheusRule "+namespace+"/jobrun-controller-manager"])
	queries := map[string]string{}
	for _, group := range rules.Spec.Groups {
		for _, rule := range group.Rules {
			queries[rule.Alert] = rule.Expr.String()
		}
	}
	if len(queries) == 0 {
		t.Fatal("there are no alerts")
	}
	return queries
}

func TestAlertsAreQueries(t *testing.T) {
	for alert, query := range alertQueries(t) {
		if _, err := promQL.ParseExpr(query); err != nil {
			t.Errorf("%s: %v", alert, err)
		}
	}
}

// gatewayQueries are the expressions of the alerts about the gateway's own metrics. The tests of test/suites look for those of the
// manager.
func gatewayQueries(t *testing.T) map[string]string {
	t.Helper()
	queries := map[string]string{}
	for alert, query := range alertQueries(t) {
		if strings.Contains(query, "jobrun_gateway_") {
			queries[alert] = query
		}
	}
	if len(queries) < 4 {
		t.Errorf("the alerts about the gateway are %v", queries)
	}
	return queries
}
