// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/internal/gateway"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// The kubelet kills the gateway only after it has stopped, and so does the manager.
func TestTheGatewayHasTimeToStop(t *testing.T) {
	text, err := os.ReadFile(checkout.Path("config", "gateway", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var deployment appsv1.Deployment
	if err := yaml.UnmarshalStrict(text, &deployment); err != nil {
		t.Fatal(err)
	}
	pod := deployment.Spec.Template.Spec
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	sleep := time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if gatewayShutdown <= gateway.StopTime || sleep+gatewayShutdown >= grace {
		t.Errorf("the Endpoint stops in %s, the manager in %s, after %s of preStop; the Pod has %s", gateway.StopTime, gatewayShutdown, sleep, grace)
	}
}

// The log for people leaves out most of many equal lines. The log of who changed what must not.
func TestTheAuditLogHasEveryLine(t *testing.T) {
	o, err := parseGatewayOptions([]string{"--zap-log-level=error"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	o.log.DestWriter = &text
	log := newAuditLog(o.log)
	for range 1000 {
		log.Info("Answered a caller", "user", "ann")
	}
	if n := strings.Count(text.String(), `"logger":"gateway.audit","msg":"Answered a caller","user":"ann"`); n != 1000 {
		t.Errorf("%d lines, want 1000: %.300s", n, text.String())
	}
}
