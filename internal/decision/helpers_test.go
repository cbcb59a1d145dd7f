// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

var (
	makeRun   = wrappers.MakeJobRun
	makeJob   = wrappers.MakeJob
	made      = wrappers.MakeKeyedRun
	keyless   = wrappers.MakeKeylessRun
	answered  = wrappers.MakeAbsorbed
	delivered = wrappers.MakeDelivered
)

// now is when everything is decided, a minute after it was created.
var now = wrappers.At(60)

// later is the time that many seconds after everything was created.
func later(seconds int) *metav1.Time {
	at := wrappers.At(seconds)
	return &at
}

// uids keys a table of names by UID.
func uids(names map[string]bool) map[types.UID]bool {
	all := map[types.UID]bool{}
	for name, value := range names {
		all[wrappers.UIDOf(name)] = value
	}
	return all
}
