// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wrappers builds the objects that tests are about:
//
//	wrappers.MakeJobRun("a").Key("k").Skip().Created().Obj()
//
// Whatever a test does not say is the same everywhere: the namespace, the job,
// the time, and a UID and a token that are made of the name.
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

// Epoch is when all objects were created.
var Epoch = metav1.NewTime(time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC))

// At is the time that many seconds after the Epoch.
func At(seconds int) metav1.Time {
	return metav1.NewTime(Epoch.Add(time.Duration(seconds) * time.Second))
}

// TokenOf is the token of the trigger of that name.
func TokenOf(name string) string { return "token-" + name }

// UIDOf is the UID of the JobRun or Job of that name.
func UIDOf(name string) types.UID { return types.UID("uid-" + name) }
