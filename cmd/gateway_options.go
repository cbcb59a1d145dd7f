// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"io"
	"net"
	"strings"

	"github.com/jobrun-dev/jobrun/internal/gateway/events"
)

// gatewayCommand is the first argument that starts the gateway instead of the manager.
const gatewayCommand = "gateway"

// gatewayOptions holds the values of the gateway's flags.
type gatewayOptions struct {
	address           string
	certPath          string
	connections       int
	allowedOrigins    list
	audiences         list
	callerInFlight    int
	namespaceInFlight int
	streams           events.Options
	logs              bool
	receivers         bool
	receiversIn       list

	commonOptions
}

// list is a flag with values that are separated by commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set parses the value of the flag.
func (l *list) Set(text string) error {
	*l = nil
	for value := range strings.SplitSeq(text, ",") {
		if value = strings.TrimSpace(value); value != "" {
			*l = append(*l, value)
		}
	}
	return nil
}

// parseGatewayOptions parses the arguments behind "gateway". For --help and --version it prints the answer to output and returns
// flag.ErrHelp.
func parseGatewayOptions(args []string, output io.Writer) (gatewayOptions, error) {
	var o gatewayOptions
	flags := flag.NewFlagSet("manager gateway", flag.ContinueOnError)
	o.bind(flags)
	if err := parse(flags, args, output); err != nil {
		return gatewayOptions{}, err
	}
	return o, o.validate()
}

func (o *gatewayOptions) bind(flags *flag.FlagSet) {
	o.commonOptions.bind(flags, "0")
	flags.StringVar(&o.address, "gateway-bind-address", "127.0.0.1:8444", "The address on which the gateway serves HTTPS.")
	flags.StringVar(&o.certPath, "gateway-cert-path", "",
		"The directory with tls.crt and tls.key. The gateway reads the files again when they change. "+
			"If empty, the gateway makes a certificate at its start, which no client can verify.")
	flags.IntVar(&o.connections, "gateway-connections", 8192,
		"How many connections this replica has open at once, at least 1. Further clients wait until one ends.")
	flags.Var(&o.allowedOrigins, "gateway-allowed-origins",
		"The origins whose pages may call the gateway (CORS), separated by commas, for example https://jobs.example.com. * allows all. If empty, none may.")
	flags.Var(&o.audiences, "gateway-audiences",
		"The audiences of the tokens that the gateway accepts, separated by commas: a token must be for one of them. "+
			"If empty, the gateway accepts the tokens that the API server accepts.")
	flags.IntVar(&o.callerInFlight, "gateway-caller-in-flight", 4096,
		"How many requests of one caller this replica answers at once, streams included, at least 1. It answers more with 429.")
	flags.IntVar(&o.namespaceInFlight, "gateway-namespace-in-flight", 16384,
		"How many requests for one namespace this replica answers at once, streams included, at least 1. It answers more with 429.")
	o.streams.HistoryBytes = events.DefaultOptions.HistoryBytes
	flags.IntVar(&o.streams.PerCaller, "gateway-caller-streams", events.DefaultOptions.PerCaller,
		"How many streams of events, of logs and of triggers one caller may have open at this replica, at least 1. It answers more with 429.")
	flags.IntVar(&o.streams.Total, "gateway-streams", events.DefaultOptions.Total,
		"How many streams of events, of logs and of triggers all callers may have open at this replica, at least 1. It answers more with 429.")
	flags.BoolVar(&o.logs, "gateway-logs", false,
		"Let callers with the right to get pods/log read the logs of runs. The gateway then needs the rights of config/gateway/logs.")
	flags.BoolVar(&o.receivers, "gateway-receivers", false,
		"Take the deliveries of other systems to the receivers of JobDefinitions. The gateway then needs the rights of config/gateway/receivers.")
	flags.Var(&o.receiversIn, "gateway-receiver-namespaces",
		"The namespaces whose receivers take deliveries, separated by commas. If empty, those of all do, and the gateway reads Secrets of all.")
}

func (o *gatewayOptions) validate() error {
	var p problems
	_, _, err := net.SplitHostPort(o.address)
	p.require(err == nil, "--gateway-bind-address must be an address and a port, e.g. 127.0.0.1:8444, not %q", o.address)
	p.require(o.connections >= 1, "--gateway-connections must be at least 1, not %d", o.connections)
	p.require(o.callerInFlight >= 1, "--gateway-caller-in-flight must be at least 1, not %d", o.callerInFlight)
	p.require(o.namespaceInFlight >= 1, "--gateway-namespace-in-flight must be at least 1, not %d", o.namespaceInFlight)
	p.require(o.streams.PerCaller >= 1, "--gateway-caller-streams must be at least 1, not %d", o.streams.PerCaller)
	p.require(o.streams.Total >= 1, "--gateway-streams must be at least 1, not %d", o.streams.Total)
	p.require(o.receivers || len(o.receiversIn) == 0, "--gateway-receiver-namespaces needs --gateway-receivers")
	o.commonOptions.validate(&p)
	return errors.Join(p...)
}
