// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import utilruntime "k8s.io/apimachinery/pkg/util/runtime"

// One of the handlers of the errors of reflectors sleeps by the clock of the process. In a bubble of synctest, where it is the year 2000,
// it would sleep for decades.
func init() { utilruntime.ErrorHandlers = nil }
