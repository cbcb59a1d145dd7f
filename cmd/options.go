// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
)

// minReservationGrace is the least --reservation-grace. Creates take longer only while the API server is overloaded.
const minReservationGrace = 2 * time.Second

// apiServerTimeout is the default --request-timeout of the API server. chaos.go may shorten it.
var apiServerTimeout = 60 * time.Second

// The values of --undefined-jobs.
const (
	undefinedAllow = "Allow"
	undefinedDeny  = "Deny"
)

// options holds the values of the flags.
type options struct {
	namespace   string
	namespaces  list
	gatewayUser string

	webhookHost     string
	webhookPort     int
	webhookCertPath string
	drainTimeout    time.Duration

	certRotation              bool
	certSecretName            string
	certServiceName           string
	certWebhookName           string
	certValidatingWebhookName string

	gatewayCertSecretName  string
	gatewayCAConfigMapName string
	gatewayServiceName     string

	metricsJobs  int
	probeAddress string

	leaderElect             bool
	leaderElectionNamespace string

	receiptHistory   int
	jobTTL           ttl
	runTTL           ttl
	reservationGrace time.Duration
	idempotencyGrace time.Duration
	undefinedJobs    string
	concurrency      int

	commonOptions
}

// parseOptions parses the arguments. For --help and --version it prints the answer to output and returns flag.ErrHelp.
func parseOptions(args []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	o.bind(flags)
	if err := parse(flags, args, output); err != nil {
		return options{}, err
	}
	if o.leaderElectionNamespace == "" {
		o.leaderElectionNamespace = o.namespace
	}
	if o.gatewayUser == "" {
		o.gatewayUser = serviceaccount.MakeUsername(o.namespace, gatewayServiceAccount)
	}
	return o, o.validate()
}

// podNamespaceFile is where the kubelet writes the namespace of a Pod.
const podNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// namespaceOf returns the namespace in a text, or the one of config/default if there is none.
func namespaceOf(text []byte) string {
	return cmp.Or(strings.TrimSpace(string(text)), "jobrun-system")
}

func (o *options) bind(flags *flag.FlagSet) {
	o.commonOptions.bind(flags, ":8443")
	pods, _ := os.ReadFile(podNamespaceFile) // It does not exist outside of a Pod.
	flags.StringVar(&o.namespace, "namespace", namespaceOf(pods),
		"The namespace in which the operator is installed: that of the Pod, or jobrun-system outside of one.")

	flags.Var(&o.namespaces, "namespaces",
		"The namespaces whose JobRuns the operator serves, separated by commas. The webhook refuses JobRuns in any other one. "+
			"If empty, it serves all. Set it to the same on all replicas.")

	flags.StringVar(&o.gatewayUser, "gateway-user", "",
		"The user name of the gateway. Only this user may say in batch.jobrun.dev/triggered-by for whom it triggers. "+
			"If empty, it is that of the ServiceAccount "+gatewayServiceAccount+" in the namespace of --namespace.")

	flags.StringVar(&o.webhookHost, "webhook-host", "", "The address on which the webhook listens. If empty, it listens on all addresses.")
	flags.IntVar(&o.webhookPort, "webhook-port", 9443, "The port on which the webhook listens, 1 to 65535.")
	flags.StringVar(&o.webhookCertPath, "webhook-cert-path", "",
		"The directory with the webhook's tls.crt and tls.key. The manager reads the files again when they change. "+
			"Required, and used, only without --cert-rotation.")
	flags.DurationVar(&o.drainTimeout, "drain-timeout", minDrainTime,
		"How long the webhook goes on at most when the manager stops, until the API server has closed its connections, at least 2s. "+
			"The API server keeps an idle one for 90s. If that takes longer than this flag says, a trigger may be refused.")

	flags.BoolVar(&o.certRotation, "cert-rotation", false,
		"Make and renew the webhook's certificate, store it in a Secret, and write its CA into the webhook configurations. "+
			"If false, provide the certificate at --webhook-cert-path yourself, for example with cert-manager.")
	flags.StringVar(&o.certSecretName, "cert-secret-name", "jobrun-webhook-server-cert",
		"With --cert-rotation, the Secret that stores the certificate, in the namespace of --namespace. It is created if it does not exist.")
	flags.StringVar(&o.certServiceName, "cert-service-name", "jobrun-webhook-service",
		"With --cert-rotation, the Service that the certificate names.")
	flags.StringVar(&o.certWebhookName, "cert-webhook-name", "jobrun-mutating-webhook-configuration",
		"With --cert-rotation, the MutatingWebhookConfiguration that gets the CA.")
	flags.StringVar(&o.certValidatingWebhookName, "cert-validating-webhook-name", "jobrun-validating-webhook-configuration",
		"With --cert-rotation, the ValidatingWebhookConfiguration that gets the CA.")

	flags.StringVar(&o.gatewayCertSecretName, "gateway-cert-secret-name", "",
		"The Secret in which to store a certificate for the gateway, in the namespace of --namespace. The manager makes its CA, and renews both. "+
			"If empty, the manager makes none.")
	flags.StringVar(&o.gatewayCAConfigMapName, "gateway-ca-config-map-name", "jobrun-gateway-ca",
		"With --gateway-cert-secret-name, the ConfigMap that gets the CA, as ca.crt.")
	flags.StringVar(&o.gatewayServiceName, "gateway-service-name", "jobrun-gateway",
		"With --gateway-cert-secret-name, the Service that the certificate names.")

	flags.IntVar(&o.metricsJobs, "metrics-jobs", 200,
		"The number of jobs (namespace and jobName) that have metrics of their own on each replica, at least 0. The others share series with the labels \"other\".")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "The address that serves /healthz and /readyz. Set 0 to turn them off.")

	flags.BoolVar(&o.leaderElect, "leader-elect", false,
		"Run the controller on one replica at a time, the leader. If false, all replicas run it and share the keys out. "+
			"The webhook always runs on every replica.")
	flags.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "",
		"The namespace of the Leases of the replicas and of the leader. If empty, it is the value of --namespace.")

	flags.IntVar(&o.receiptHistory, "receipt-history", 100, "The number of bound receipts to keep per run, at least 1.")
	o.jobTTL, o.runTTL = ttl(24*time.Hour), ttl(7*24*time.Hour)
	flags.Var(&o.jobTTL, "job-ttl",
		"How long the finished Job of a run is kept after the completionTime of the run, if its template has no ttlSecondsAfterFinished: "+
			"a `duration` of at least 1m, or -1 to keep it as long as its JobRun.")
	flags.Var(&o.runTTL, "run-ttl",
		"How long a JobRun without ttlSecondsAfterFinished is kept after its completionTime: a `duration` of at least 1m, or -1 for ever.")
	flags.DurationVar(&o.reservationGrace, "reservation-grace", 5*time.Second,
		"How long the waiting place of a concurrencyKey stays reserved for an admitted run that does not exist, at least 2s. "+
			"A run that is created later waits in line.")
	flags.DurationVar(&o.idempotencyGrace, "idempotency-grace", 90*time.Second,
		"How long an idempotencyKey stays reserved for an admitted run that does not exist. It must exceed 60s and the API server's --request-timeout.")
	flags.StringVar(&o.undefinedJobs, "undefined-jobs", undefinedAllow,
		"What becomes of a trigger without a template whose job has no JobDefinition. Allow: it waits for an external worker. Deny: it is refused.")
	flags.IntVar(&o.concurrency, "concurrent-reconciles", 8, "The number of keys that the controller reconciles at once, at least 1.")
}

func (o *options) validate() error {
	var p problems
	p.require(o.namespace != "", "--namespace must not be empty")
	for _, namespace := range o.namespaces {
		faults := validation.IsDNS1123Label(namespace)
		p.require(len(faults) == 0, "--namespaces has %q, which is no name of a namespace: %s", namespace, strings.Join(faults, "; "))
	}
	p.require(o.webhookPort > 0 && o.webhookPort < 1<<16, "--webhook-port must be 1 to 65535, not %d", o.webhookPort)
	p.require(o.webhookCertPath != "" || o.certRotation,
		"--webhook-cert-path is required without --cert-rotation: the directory with the webhook's tls.crt and tls.key")
	p.require(o.drainTimeout >= minDrainTime,
		"--drain-timeout must be at least %s, not %s: the API server may still open connections", minDrainTime, o.drainTimeout)
	o.commonOptions.validate(&p)
	p.require(o.metricsJobs >= 0, "--metrics-jobs must be at least 0, not %d", o.metricsJobs)
	p.require(o.receiptHistory >= 1, "--receipt-history must be at least 1, not %d", o.receiptHistory)
	p.require(o.reservationGrace >= minReservationGrace,
		"--reservation-grace must be at least %s, not %s: creates of admitted runs would lose their place", minReservationGrace, o.reservationGrace)
	p.require(o.idempotencyGrace > apiServerTimeout,
		"--idempotency-grace must exceed %s, not be %s: the API server may store an admitted run that late",
		apiServerTimeout, o.idempotencyGrace)
	p.require(o.undefinedJobs == undefinedAllow || o.undefinedJobs == undefinedDeny,
		"--undefined-jobs must be %s or %s, not %q", undefinedAllow, undefinedDeny, o.undefinedJobs)
	p.require(o.concurrency >= 1, "--concurrent-reconciles must be at least 1, not %d", o.concurrency)
	if o.certRotation {
		p.require(o.certSecretName != "", "--cert-rotation needs --cert-secret-name")
		p.require(o.certServiceName != "", "--cert-rotation needs --cert-service-name")
		p.require(o.certWebhookName != "", "--cert-rotation needs --cert-webhook-name")
		p.require(o.certValidatingWebhookName != "", "--cert-rotation needs --cert-validating-webhook-name")
	}
	if o.gatewayCertSecretName != "" {
		p.require(o.gatewayCertSecretName != o.certSecretName, "--gateway-cert-secret-name must not be --cert-secret-name")
		p.require(o.gatewayCAConfigMapName != "", "--gateway-cert-secret-name needs --gateway-ca-config-map-name")
		p.require(o.gatewayServiceName != "", "--gateway-cert-secret-name needs --gateway-service-name")
	}
	return errors.Join(p...)
}
