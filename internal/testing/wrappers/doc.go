// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wrappers builds the objects of tests:
//
//	wrappers.MakeJobRun("a").Key("k").Skip().Created().Obj()
//
// Values that a test does not set are the same in all tests: the namespace, the job and the time. The UID and
// the token are derived from the name.
package wrappers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// Namespace of all objects.
	Namespace = "default"
	// JobName of all objects.
	JobName = "job"
)

// Epoch is the creation time of all objects.
var Epoch = metav1.NewTime(time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC))

// At returns the time that many seconds after the Epoch.
func At(seconds int) metav1.Time {
	return metav1.NewTime(Epoch.Add(time.Duration(seconds) * time.Second))
}

// TokenOf returns the token of the trigger of that name.
func TokenOf(name string) string { return "token-" + name }

// UIDOf returns the UID of the JobRun or Job of that name.
func UIDOf(name string) types.UID { return types.UID("uid-" + name) }
