package main

import "k8s.io/utils/clock"

// operatorClock tells the operator the time.
var operatorClock clock.Clock = clock.RealClock{}
