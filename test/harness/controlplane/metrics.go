// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"
)

// EtcdMetric returns the sum of all series of one of etcd's own counters or gauges, e.g. etcd_mvcc_put_total,
// etcd_mvcc_delete_total or etcd_mvcc_txn_total. kine has none of them.
func (cp *ControlPlane) EtcdMetric(ctx context.Context, name string) (float64, error) {
	if cp.kine != "" {
		return 0, fmt.Errorf("no metric %s: the store is kine", name)
	}
	return metric(ctx, http.DefaultClient, cp.EtcdEndpoint(), name)
}

// APIServerMetric returns the sum of all series of one of the API server's own counters or gauges.
func (cp *ControlPlane) APIServerMetric(ctx context.Context, name string) (float64, error) {
	admin, err := rest.HTTPClientFor(cp.adminConfig)
	if err != nil {
		return 0, err
	}
	return metric(ctx, admin, cp.apiServerURL(), name)
}

func metric(ctx context.Context, client *http.Client, url, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", request.URL, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", request.URL, err)
	}
	family, found := families[name]
	if !found {
		return 0, fmt.Errorf("%s has no metric %s", request.URL, name)
	}
	sum := 0.0
	for _, metric := range family.Metric {
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	}
	return sum, nil
}
