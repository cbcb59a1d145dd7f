// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"testing"
	"testing/cryptotest"
	"testing/synctest"

	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// Run runs a simulation in a bubble of its own, with a fixed source of
// randomness, so that the same schedule does the same thing every time. The
// function must not use t. Its error is returned, for the caller to fail with.
//
// Tests that call it must not be parallel: the source of randomness is the
// process's.
func Run(t *testing.T, simulate func() error) (err error) {
	t.Helper()
	if _, kindsErr := kinds(); kindsErr != nil { // compile the rules outside
		return kindsErr
	}
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, 1)
		utilrand.Seed(1)
		err = simulate()
	})
	return err
}
