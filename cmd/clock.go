// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import "k8s.io/utils/clock"

// operatorClock tells the operator the time.
var operatorClock clock.Clock = clock.RealClock{}
