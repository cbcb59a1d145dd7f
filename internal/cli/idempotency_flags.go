// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// idempotency are the flags about the idempotencyKey of a trigger.
type idempotency struct {
	key     string
	ttl     time.Duration
	release string
}

func (o *idempotency) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&o.key, "idempotency-key", "", "Identifies this trigger. A second trigger with the same key starts nothing.")
	flags.DurationVar(&o.ttl, "idempotency-ttl", 0, "Time for which the idempotency key is remembered after the run has ended, at most 168h. "+
		"Default: as long as the run exists.")
	flags.StringVar(&o.release, "idempotency-release", "", `"OnFailure" releases the idempotency key when the run fails or is cancelled. Default: Never.`)
}

func (o *idempotency) check() error {
	if o.ttl < 0 || o.ttl%time.Second != 0 {
		return usagef("--idempotency-ttl %s: must be whole seconds, and not negative", o.ttl)
	}
	return nil
}

// override changes the spec by the flags that are set.
func (o *idempotency) override(set func(flag string) bool, spec *v1alpha1.JobRunSpec) {
	if set("idempotency-key") {
		spec.IdempotencyKey = o.key
	}
	if set("idempotency-ttl") {
		spec.IdempotencyTTLSeconds = int32(min(o.ttl/time.Second, maxTTLSeconds))
	}
	if set("idempotency-release") {
		spec.IdempotencyRelease = v1alpha1.IdempotencyReleasePolicy(o.release)
	}
}

// maxTTLSeconds keeps a long duration too long for the schema, rather than make it another number.
const maxTTLSeconds = 1<<31 - 1
