// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"testing"
	"testing/cryptotest"
	"testing/synctest"

	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// Run runs a simulation in a synctest bubble of its own and returns its error. The source of randomness
// is fixed, so the same schedule does the same thing every time. The function must not use t.
//
// Tests that call Run must not be parallel: the source of randomness is global.
func Run(t *testing.T, simulate func() error) (err error) {
	t.Helper()
	if _, kindsErr := kinds(); kindsErr != nil { // compiles the CEL rules outside the bubble
		return kindsErr
	}
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, 1)
		utilrand.Seed(1)
		err = simulate()
	})
	return err
}
