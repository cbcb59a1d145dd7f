// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// network has the proxies between the processes.
type network struct {
	server *toxiproxy.ApiServer
	last   atomic.Int64 // number in the name of the last toxic
}

func newNetwork() *network {
	return &network{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())}
}

// link is a proxy to an address.
type link struct {
	*toxiproxy.Proxy
	network *network
}

// to starts a link to an address.
func (n *network) to(name, upstream string) (*link, error) {
	listen, err := controlplane.FreeAddress()
	if err != nil {
		return nil, err
	}
	proxy := toxiproxy.NewProxy(n.server, name, listen, upstream)
	if err := proxy.Start(); err != nil {
		return nil, fmt.Errorf("start the proxy to %s: %w", upstream, err)
	}
	return &link{proxy, n}, nil
}

// toxic is one of Toxiproxy's ways to disturb a link.
type toxic struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Stream string `json:"stream"`
	// Toxicity is the share of the connections that are disturbed. 0 means all.
	Toxicity   float32          `json:"toxicity"`
	Attributes map[string]int64 `json:"attributes"`
}

// The directions of a link, as its client sees them.
const (
	requests = "upstream"
	answers  = "downstream"
)

// poison disturbs a link until cure is called.
func (l *link) poison(t toxic) (cure func() error, err error) {
	t.Name = fmt.Sprintf("%s-%d", t.Type, l.network.last.Add(1))
	if t.Toxicity == 0 {
		t.Toxicity = 1
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	if _, err := l.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
		return nil, fmt.Errorf("add toxic %s to %s: %w", t.Type, l.Proxy.Name, err)
	}
	return func() error { return l.Toxics.RemoveToxic(context.Background(), t.Name) }, nil
}

// cut ends all connections, and refuses new ones until mend is called.
func (l *link) cut() (mend func() error) {
	l.Stop()
	return l.Start
}
