package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func (cp *ControlPlane) newEtcd(address, peerAddress string) *component {
	client, peer := "http://"+address, "http://"+peerAddress
	return &component{
		name: "etcd",
		args: []string{
			"--name=etcd",
			"--data-dir=" + filepath.Join(cp.dir, "etcd"),
			"--listen-client-urls=" + client,
			"--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer,
			"--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=etcd=" + peer,
			"--quota-backend-bytes=8589934592",
			// What a killed process has written is in the kernel's cache; only a power cut could lose it.
			"--unsafe-no-fsync",
		},
		probe: HTTPReady(http.DefaultClient, client+"/health"),
	}
}

// EtcdEndpoint is the URL that etcd serves clients and metrics on.
func (cp *ControlPlane) EtcdEndpoint() string { return "http://" + cp.etcdAddress }

// EtcdClient returns a new client; the caller closes it.
func (cp *ControlPlane) EtcdClient() (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{cp.etcdAddress}})
}

// EtcdMetric returns the sum of all series of one of etcd's own counters or gauges, e.g. etcd_mvcc_put_total,
// etcd_mvcc_delete_total or etcd_mvcc_txn_total.
func (cp *ControlPlane) EtcdMetric(ctx context.Context, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, cp.EtcdEndpoint()+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return 0, fmt.Errorf("metrics of etcd: %w", err)
	}
	family, found := families[name]
	if !found {
		return 0, fmt.Errorf("etcd has no metric %s", name)
	}
	sum := 0.0
	for _, metric := range family.Metric {
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	}
	return sum, nil
}

// KillEtcd ends etcd as kill -9 does. The API server then cannot serve until StartEtcd.
func (cp *ControlPlane) KillEtcd() error { return cp.etcd.process.Kill9() }

// StartEtcd starts etcd again, with its data and on its address, and waits until it serves.
func (cp *ControlPlane) StartEtcd(ctx context.Context) error { return cp.start(ctx, cp.etcd) }
