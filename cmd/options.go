// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"time"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// apiServerTimeout is how long a request may take at the API server, unless it is told otherwise.
var apiServerTimeout = 60 * time.Second

// options is what the flags say.
type options struct {
	namespace string

	webhookHost     string
	webhookPort     int
	webhookCertPath string

	certRotation    bool
	certSecretName  string
	certServiceName string
	certWebhookName string

	metricsAddress  string
	metricsCertPath string
	probeAddress    string
	pprofAddress    string

	leaderElect             bool
	leaderElectionNamespace string

	receiptHistory   int
	reservationGrace time.Duration
	concurrency      int

	log zap.Options
}

// parseOptions reads the arguments; asked for help, it prints that and returns flag.ErrHelp.
func parseOptions(args []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.bind(flags)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(output)
		flags.Usage()
	}
	if err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))
	}
	if o.leaderElectionNamespace == "" {
		o.leaderElectionNamespace = o.namespace
	}
	return o, o.validate()
}

func (o *options) bind(flags *flag.FlagSet) {
	config.RegisterFlags(flags)
	o.log.TimeEncoder = zapcore.RFC3339NanoTimeEncoder // unless --zap-time-encoding says otherwise
	o.log.BindFlags(flags)
	flags.StringVar(&o.namespace, "namespace", "jobrun-system", "The namespace that the operator is installed in.")

	flags.StringVar(&o.webhookHost, "webhook-host", "", "The address the webhook listens on; empty for all addresses.")
	flags.IntVar(&o.webhookPort, "webhook-port", 9443, "The port the webhook listens on.")
	flags.StringVar(&o.webhookCertPath, "webhook-cert-path", "",
		"The directory with the webhook's tls.crt and tls.key. They are read again when they change.")

	flags.BoolVar(&o.certRotation, "cert-rotation", false,
		"Make the webhook's certificate, keep it in a Secret, renew it in time and put its CA into the webhook configuration. "+
			"The Secret must be mounted at --webhook-cert-path. Otherwise the certificate there is somebody else's work.")
	flags.StringVar(&o.certSecretName, "cert-secret-name", "jobrun-webhook-server-cert",
		"The Secret of the certificate, for --cert-rotation.")
	flags.StringVar(&o.certServiceName, "cert-service-name", "jobrun-webhook-service",
		"The Service that the certificate is for, for --cert-rotation.")
	flags.StringVar(&o.certWebhookName, "cert-webhook-name", "jobrun-mutating-webhook-configuration",
		"The MutatingWebhookConfiguration that needs the CA, for --cert-rotation.")

	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443",
		"The address that serves metrics, by HTTPS and to those who may GET /metrics; 0 for none.")
	flags.StringVar(&o.metricsCertPath, "metrics-cert-path", "",
		"The directory with the metrics' tls.crt and tls.key. Without it they have a self-signed certificate.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "The address that serves /healthz and /readyz; 0 for none.")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "",
		"The address that serves profiles (net/http/pprof), to anybody who reaches it: on the loopback interface only; empty for none.")

	flags.BoolVar(&o.leaderElect, "leader-elect", false,
		"Run the controller on one replica at a time. The webhook runs on all of them anyway.")
	flags.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "", "The namespace of the leader's Lease, if not --namespace.")

	flags.IntVar(&o.receiptHistory, "receipt-history", 100, "How many finished or bound receipts are kept per run.")
	flags.DurationVar(&o.reservationGrace, "reservation-grace", 90*time.Second,
		"How long a key stays reserved for a run that was admitted but does not exist. Longer than a request may take at the API server.")
	flags.IntVar(&o.concurrency, "concurrent-reconciles", 8, "How many keys are reconciled at once.")
}

func (o *options) validate() error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(o.namespace != "", "--namespace must not be empty")
	require(o.webhookPort > 0 && o.webhookPort < 1<<16, "--webhook-port must be 1 to 65535, not %d", o.webhookPort)
	require(o.webhookCertPath != "", "--webhook-cert-path is required: the directory with the webhook's tls.crt and tls.key")
	require(o.pprofAddress == "" || isLoopback(o.pprofAddress),
		"--pprof-bind-address must be a loopback address and a port, e.g. 127.0.0.1:6060, not %q: whoever reaches it sees the memory",
		o.pprofAddress)
	require(o.receiptHistory >= 1, "--receipt-history must be at least 1, not %d", o.receiptHistory)
	require(o.reservationGrace > apiServerTimeout,
		"--reservation-grace must exceed %s, not be %s: a run that was admitted may come to exist as late as that",
		apiServerTimeout, o.reservationGrace)
	require(o.concurrency >= 1, "--concurrent-reconciles must be at least 1, not %d", o.concurrency)
	if o.certRotation {
		require(o.certSecretName != "", "--cert-rotation needs --cert-secret-name")
		require(o.certServiceName != "", "--cert-rotation needs --cert-service-name")
		require(o.certWebhookName != "", "--cert-rotation needs --cert-webhook-name")
	}
	return errors.Join(errs...)
}

// isLoopback reports whether an address with a port is reached from this machine, or this Pod, alone.
func isLoopback(address string) bool {
	parsed, err := netip.ParseAddrPort(address)
	return err == nil && parsed.Addr().IsLoopback()
}
