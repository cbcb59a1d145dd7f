// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// commonOptions holds the values of the flags that the manager and the gateway have in common.
type commonOptions struct {
	metricsAddress  string
	metricsCertPath string
	pprofAddress    string

	log zap.Options
}

// bind adds the flags. metrics is the default of --metrics-bind-address.
func (o *commonOptions) bind(flags *flag.FlagSet, metrics string) {
	config.RegisterFlags(flags)
	o.log.TimeEncoder = zapcore.RFC3339NanoTimeEncoder // the default of --zap-time-encoding
	o.log.BindFlags(flags)
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", metrics,
		"The address that serves metrics over HTTPS. A client needs the right to GET /metrics. Set 0 to turn metrics off.")
	flags.StringVar(&o.metricsCertPath, "metrics-cert-path", "",
		"The directory with tls.crt and tls.key for the metrics. If empty, the certificate is self-signed.")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "",
		"The address that serves profiles (net/http/pprof) without authentication. It must be a loopback address with a port. "+
			"If empty, there are no profiles.")
}

func (o *commonOptions) validate(p *problems) {
	p.require(o.pprofAddress == "" || isLoopback(o.pprofAddress),
		"--pprof-bind-address must be a loopback address and a port, e.g. 127.0.0.1:6060, not %q: profiles show what is in memory", o.pprofAddress)
}

// isLoopback reports whether only this machine, or this Pod, can reach an address with a port.
func isLoopback(address string) bool {
	parsed, err := netip.ParseAddrPort(address)
	return err == nil && parsed.Addr().IsLoopback()
}

// problems are what is wrong with the values of flags.
type problems []error

// require adds a problem unless ok.
func (p *problems) require(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

// parse parses arguments that are flags only. For --help and --version it prints the answer to output and returns flag.ErrHelp.
func parse(flags *flag.FlagSet, args []string, output io.Writer) error {
	showVersion := flags.Bool("version", false, "Print the version and exit.")
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(output)
		flags.Usage()
		return err
	case err != nil:
		return err
	case *showVersion:
		fmt.Fprintln(output, version)
		return flag.ErrHelp
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q: %s takes only flags", flags.Arg(0), flags.Name())
	}
	return nil
}
