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

// now is the time of all decisions: 60 s after the creation of all objects.
var now = wrappers.At(60)

// later returns the time that many seconds after the creation of all objects.
func later(seconds int) *metav1.Time {
	at := wrappers.At(seconds)
	return &at
}

// uids returns the table with the UIDs of the names as keys.
func uids(names map[string]bool) map[types.UID]bool {
	all := map[types.UID]bool{}
	for name, value := range names {
		all[wrappers.UIDOf(name)] = value
	}
	return all
}
