// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseOptionsDefaults(t *testing.T) {
	o, err := parseOptions([]string{"--webhook-cert-path=/certs"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.webhookPort != 9443 || o.metricsAddress != ":8443" || o.probeAddress != ":8081" || o.leaderElect ||
		o.pprofAddress != "" || o.receiptHistory != 100 || o.concurrency != 8 || o.metricsJobs != 200 ||
		time.Duration(o.jobTTL) != 24*time.Hour || time.Duration(o.runTTL) != 168*time.Hour ||
		o.reservationGrace != 5*time.Second || o.idempotencyGrace != 90*time.Second || o.drainTimeout != 2*time.Second || o.certRotation {
		t.Errorf("defaults: %+v", o)
	}
	if o.gatewayUser != "system:serviceaccount:"+o.namespace+":jobrun-gateway" {
		t.Errorf("the gateway is %q", o.gatewayUser)
	}
	if o.leaderElectionNamespace != o.namespace {
		t.Errorf("the leader's Lease is in %q, not in the operator's namespace", o.leaderElectionNamespace)
	}
}

func TestNamespaceIsThatOfThePod(t *testing.T) {
	for text, want := range map[string]string{"": "jobrun-system", "platform-jobs\n": "platform-jobs"} {
		if got := namespaceOf([]byte(text)); got != want {
			t.Errorf("%q: namespace %q, want %q", text, got, want)
		}
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"no certificates":             {[]string{}, "--webhook-cert-path is required"},
		"no history":                  {[]string{"--receipt-history=0"}, "--receipt-history must be at least 1, not 0"},
		"grace shorter than a create": {[]string{"--reservation-grace=1s"}, "--reservation-grace must be at least 2s, not 1s"},
		"undefined jobs":              {[]string{"--undefined-jobs=deny"}, `--undefined-jobs must be Allow or Deny, not "deny"`},
		"no drain":                    {[]string{"--drain-timeout=1s"}, "--drain-timeout must be at least 2s, not 1s"},
		"grace as long as a request":  {[]string{"--idempotency-grace=60s"}, "--idempotency-grace must exceed 1m0s, not be 1m0s"},
		"a TTL without a unit":        {[]string{"--job-ttl=60"}, `invalid value "60" for flag -job-ttl: it must be a duration of at least 1m0s, such as 24h, or -1 for never`},
		"a Job that goes too early":   {[]string{"--job-ttl=59s"}, `invalid value "59s" for flag -job-ttl`},
		"a JobRun that goes at once":  {[]string{"--run-ttl=0"}, `invalid value "0" for flag -run-ttl`},
		"a negative TTL":              {[]string{"--run-ttl=-1h"}, `invalid value "-1h" for flag -run-ttl`},
		"fewer than no jobs":          {[]string{"--metrics-jobs=-1"}, "--metrics-jobs must be at least 0, not -1"},
		"no concurrency":              {[]string{"--concurrent-reconciles=0"}, "--concurrent-reconciles must be at least 1, not 0"},
		"port too high":               {[]string{"--webhook-port=65536"}, "--webhook-port must be 1 to 65535, not 65536"},
		"no namespace":                {[]string{"--namespace="}, "--namespace must not be empty"},
		"a wrong namespace":           {[]string{"--namespaces=team-a,Team_B"}, `--namespaces has "Team_B", which is no name of a namespace`},
		"rotation without a Secret":   {[]string{"--cert-rotation", "--cert-secret-name="}, "--cert-rotation needs --cert-secret-name"},
		"rotation without a Service":  {[]string{"--cert-rotation", "--cert-service-name="}, "--cert-rotation needs --cert-service-name"},
		"rotation without a webhook":  {[]string{"--cert-rotation", "--cert-webhook-name="}, "--cert-rotation needs --cert-webhook-name"},
		"rotation without the fence":  {[]string{"--cert-rotation", "--cert-validating-webhook-name="}, "--cert-rotation needs --cert-validating-webhook-name"},
		"one Secret for two":          {[]string{"--gateway-cert-secret-name=jobrun-webhook-server-cert"}, "must not be --cert-secret-name"},
		"a CA for nobody":             {[]string{"--gateway-cert-secret-name=a", "--gateway-ca-config-map-name="}, "needs --gateway-ca-config-map-name"},
		"a certificate for nobody":    {[]string{"--gateway-cert-secret-name=a", "--gateway-service-name="}, "needs --gateway-service-name"},
		"profiles on all addresses":   {[]string{"--pprof-bind-address=:6060"}, "--pprof-bind-address must be a loopback address"},
		"profiles on a network":       {[]string{"--pprof-bind-address=192.0.2.1:6060"}, `not "192.0.2.1:6060"`},
		"unknown flag":                {[]string{"--frobnicate"}, "flag provided but not defined: -frobnicate"},
		"argument that is not a flag": {[]string{"serve"}, `unexpected argument "serve"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			args := test.args
			if name != "no certificates" {
				args = append([]string{"--webhook-cert-path=/certs"}, args...)
			}
			_, err := parseOptions(args, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

// A replica caches what it serves, and the Leases of the replicas.
func TestNamespacesAreCached(t *testing.T) {
	for name, tc := range map[string]struct {
		args                []string
		served, leasesServe []string
	}{
		"all":  {nil, nil, nil},
		"some": {[]string{"--namespaces=team-a, team-b", "--namespace=jobs"}, []string{"team-a", "team-b"}, []string{"jobs", "team-a", "team-b"}},
		"its own, too": {
			[]string{"--namespaces=jobs", "--namespace=jobs"}, []string{"jobs"}, []string{"jobs"},
		},
		"Leases elsewhere": {
			[]string{"--namespaces=team-a", "--leader-election-namespace=locks"}, []string{"team-a"}, []string{"locks", "team-a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parseOptions(append([]string{"--webhook-cert-path=/certs"}, tc.args...), nil)
			if err != nil {
				t.Fatal(err)
			}
			served, leases := cacheOptions(o, checks{}).DefaultNamespaces, leasesToCache(o)
			if got := slices.Sorted(maps.Keys(served)); !slices.Equal(got, tc.served) {
				t.Errorf("cached are %q, want %q", got, tc.served)
			}
			if got := slices.Sorted(maps.Keys(leases.Namespaces)); !slices.Equal(got, tc.leasesServe) {
				t.Errorf("Leases are cached in %q, want %q", got, tc.leasesServe)
			}
			if everywhere := leases.Field != nil; everywhere != (tc.served == nil) {
				t.Errorf("all Leases but those of nodes are cached: %t", everywhere)
			}
		})
	}
}

func TestParseOptionsTTL(t *testing.T) {
	o, err := parseOptions([]string{"--webhook-cert-path=/certs", "--job-ttl=1m", "--run-ttl=-1"}, nil)
	if err != nil || time.Duration(o.jobTTL) != time.Minute || o.runTTL != 0 {
		t.Errorf("got %s and %s, %v", &o.jobTTL, &o.runTTL, err)
	}
}

func TestParseOptionsProfiles(t *testing.T) {
	for _, address := range []string{"127.0.0.1:6060", "[::1]:6060"} {
		o, err := parseOptions([]string{"--webhook-cert-path=/certs", "--pprof-bind-address=" + address}, nil)
		if err != nil || o.pprofAddress != address {
			t.Errorf("%s: got %q, %v", address, o.pprofAddress, err)
		}
	}
}

func TestParseOptionsNamesAllFaultsAtOnce(t *testing.T) {
	_, err := parseOptions([]string{"--receipt-history=0", "--reservation-grace=1s"}, nil)
	for _, flagName := range []string{"--webhook-cert-path", "--receipt-history", "--reservation-grace"} {
		if err == nil || !strings.Contains(err.Error(), flagName) {
			t.Errorf("error %v does not name %s", err, flagName)
		}
	}
}

func TestParseOptionsHelp(t *testing.T) {
	var output bytes.Buffer
	if _, err := parseOptions([]string{"--help"}, &output); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got error %v", err)
	}
	for _, flagName := range []string{"-webhook-port", "-kubeconfig", "-zap-log-level", "(default 24h0m0s)", "(default 168h0m0s)"} {
		if !strings.Contains(output.String(), flagName) {
			t.Errorf("help does not list %s", flagName)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"-version"}, {"gateway", "--version"}} {
		var output bytes.Buffer
		if _, _, err := parseCommand(args, &output); !errors.Is(err, flag.ErrHelp) || output.String() != version+"\n" {
			t.Errorf("%q: got %q, %v", args, output.String(), err)
		}
	}
}
