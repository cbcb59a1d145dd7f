// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"net/http"
	"path/filepath"

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
			// The kernel keeps the writes of a killed process. Only a power cut could lose them.
			"--unsafe-no-fsync",
		},
		probe: HTTPReady(http.DefaultClient, client+"/health"),
	}
}

// EtcdEndpoint returns the URL at which the store serves etcd's API. etcd serves its metrics there, too.
func (cp *ControlPlane) EtcdEndpoint() string { return "http://" + cp.storeAddress }

// EtcdClient returns a new client. The caller must close it.
func (cp *ControlPlane) EtcdClient() (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{cp.storeAddress}})
}

// KillEtcd ends the store as kill -9 does. The API server then cannot serve until StartEtcd.
func (cp *ControlPlane) KillEtcd() error { return cp.store.process.Kill9() }

// StartEtcd starts the store again, with the same data and address, and waits until it serves.
func (cp *ControlPlane) StartEtcd(ctx context.Context) error { return cp.start(ctx, cp.store) }
