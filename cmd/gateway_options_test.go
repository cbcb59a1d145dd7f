// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
)

func TestParseGatewayOptions(t *testing.T) {
	o, err := parseGatewayOptions(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.address != "127.0.0.1:8444" || o.certPath != "" || len(o.allowedOrigins) > 0 || len(o.audiences) > 0 ||
		o.callerInFlight != 4096 || o.connections != 8192 || o.namespaceInFlight != 16384 ||
		o.metricsAddress != "0" || o.pprofAddress != "" || o.logs || o.receivers || len(o.receiversIn) > 0 {
		t.Errorf("defaults: %+v", o)
	}
	o, err = parseGatewayOptions([]string{"--gateway-allowed-origins=https://a.example, https://b.example,"}, nil)
	if err != nil || !slices.Equal(o.allowedOrigins, []string{"https://a.example", "https://b.example"}) {
		t.Errorf("origins: %q, %v", o.allowedOrigins, err)
	}
	o, err = parseGatewayOptions([]string{"--gateway-audiences=jobrun-gateway, other"}, nil)
	if err != nil || !slices.Equal(o.audiences, []string{"jobrun-gateway", "other"}) {
		t.Errorf("audiences: %q, %v", o.audiences, err)
	}
	var help bytes.Buffer
	if _, err := parseGatewayOptions([]string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "gateway-bind-address") {
		t.Errorf("%v\n%s", err, &help)
	}
	for arg, want := range map[string]string{
		"--gateway-bind-address=8444":     "--gateway-bind-address must be an address and a port",
		"--gateway-connections=0":         "--gateway-connections must be at least 1, not 0",
		"--gateway-caller-in-flight=0":    "--gateway-caller-in-flight must be at least 1, not 0",
		"--gateway-namespace-in-flight=0": "--gateway-namespace-in-flight must be at least 1, not 0",
		"--gateway-receiver-namespaces=a": "--gateway-receiver-namespaces needs --gateway-receivers",
		"--pprof-bind-address=:6060":      "--pprof-bind-address must be a loopback address",
		"--webhook-port=1":                "flag provided but not defined: -webhook-port",
		"now":                             `unexpected argument "now"`,
	} {
		if _, err := parseGatewayOptions([]string{arg}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// The first argument alone chooses the gateway.
func TestParseCommand(t *testing.T) {
	for _, args := range [][]string{{"gateway"}, {"--webhook-cert-path=/certs"}} {
		if start, logs, err := parseCommand(args, nil); start == nil || logs == nil || err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, _, err := parseCommand([]string{"--webhook-cert-path=/certs", "gateway"}, nil); err == nil {
		t.Error("a second argument is a command")
	}
}
