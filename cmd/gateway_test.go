// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

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
