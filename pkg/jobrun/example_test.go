// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

func ExampleNewForConfig() {
	config, err := ctrl.GetConfig()
	if err != nil {
		log.Fatal(err)
	}
	runs, err := jobrun.NewForConfig(config, "default")
	if err != nil {
		log.Fatal(err)
	}
	list, err := runs.List(context.Background(), jobrun.Selector{JobName: "sync-users"}, v1alpha1.PhasePending, v1alpha1.PhaseLeased)
	if err != nil {
		log.Fatal(err)
	}
	for _, run := range list {
		fmt.Println(run.Name, run.Status.Phase)
	}
}

// The result of a trigger has its disposition and the run that stands for it.
func ExampleClient_Trigger() {
	runs := jobrun.New(newCluster(), "default")
	spec := v1alpha1.JobRunSpec{JobName: "sync-users", ConcurrencyKey: "org_acme", Coalesce: v1alpha1.CoalesceSkip}

	first, err := runs.Trigger(context.Background(), spec, jobrun.WithName("acme-1"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.Disposition, first.Run.Name)

	second, err := runs.Trigger(context.Background(), spec, jobrun.WithName("acme-2"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(second.Disposition, second.Run.Name)
	// Output:
	// Created acme-1
	// Coalesced acme-1
}

// A JobDefinition gives everything but the input.
func ExampleClient_TriggerDefined() {
	runs := jobrun.New(newCluster(), "default")
	result, err := runs.TriggerDefined(context.Background(), "sync-users", map[string]any{"org": "acme", "full": true},
		jobrun.WithName("acme-1"))
	var (
		invalid   *jobrun.ValidationError
		forbidden *jobrun.ForbiddenError
	)
	switch {
	case errors.As(err, &invalid):
		for _, f := range invalid.Fields {
			fmt.Println(f.Field, f.Message)
		}
	case errors.As(err, &forbidden):
		fmt.Println("not allowed to", forbidden.Verb, forbidden.Resource, forbidden.Name)
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(result.JobRun.Name, string(result.JobRun.Spec.Input.Raw))
	}
	// Output: acme-1 {"full":true,"org":"acme"}
}

func ExampleConflictError() {
	runs := jobrun.New(newCluster(), "default")
	spec := v1alpha1.JobRunSpec{JobName: "sync-users", ConcurrencyKey: "org_acme"}
	if _, err := runs.Trigger(context.Background(), spec, jobrun.WithName("acme-1")); err != nil {
		log.Fatal(err)
	}

	_, err := runs.Trigger(context.Background(), spec)
	var conflict *jobrun.ConflictError
	if errors.As(err, &conflict) {
		fmt.Println(conflict.PendingRun, "waits already")
	}
	// Output: acme-1 waits already
}

func ExampleValidationError() {
	runs := jobrun.New(newCluster(), "default")
	_, err := runs.Trigger(context.Background(), v1alpha1.JobRunSpec{JobName: "sync-users", MaxAttempts: -1})
	var invalid *jobrun.ValidationError
	if errors.As(err, &invalid) {
		fmt.Println(invalid.Fields[0].Field)
	}
	// Output: spec.maxAttempts
}

func ExampleClient_TriggerAndWait() {
	runs := jobrun.New(newCluster(), "default")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()

	outcome, err := runs.TriggerAndWait(ctx,
		v1alpha1.JobRunSpec{
			JobName:        "sync-users",
			ConcurrencyKey: "org_acme",
			Input:          &apiextensionsv1.JSON{Raw: []byte(`{"org":"acme"}`)},
		},
		jobrun.WithName("acme-1"),
		jobrun.OnProgress(func(p v1alpha1.Progress) { fmt.Println(p.Message) }),
	)
	var failed *jobrun.FailedError
	switch {
	case errors.As(err, &failed):
		fmt.Println("failed:", failed.Message)
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println(outcome.Run.Name, string(outcome.Output.Raw))
	}
	// Output:
	// halfway
	// acme-1 {"users":42}
}

// Either all items of a batch execute, or none.
func ExampleClient_BatchTrigger() {
	runs := jobrun.New(newCluster(), "default")
	spec := v1alpha1.JobRunSpec{JobName: "sync-users", ConcurrencyKey: "org_acme", Coalesce: v1alpha1.CoalesceSkip}
	results, err := runs.BatchTrigger(context.Background(), []jobrun.BatchItem{
		{Spec: spec, Options: []jobrun.TriggerOption{jobrun.WithName("acme-1")}},
		{Spec: spec, Options: []jobrun.TriggerOption{jobrun.WithName("acme-2")}},
	})
	var refused *jobrun.BatchItemError
	switch {
	case errors.As(err, &refused):
		fmt.Println("nothing of it executes: item", refused.Index, "was refused")
	case err != nil:
		log.Fatal(err)
	}
	for _, result := range results {
		fmt.Println(result.JobRun.Name, result.Disposition, result.Run.Name)
	}
	// Output:
	// acme-1 Created acme-1
	// acme-2 Coalesced acme-1
}

// The stream has the events of one key, from the moment that Watch returns.
func ExampleClient_Watch() {
	runs := jobrun.New(newCluster(), "default")
	events, err := runs.Watch(context.Background(), jobrun.Selector{JobName: "sync-users", ConcurrencyKey: "org_acme"})
	if err != nil {
		log.Fatal(err)
	}
	spec := v1alpha1.JobRunSpec{JobName: "sync-users", ConcurrencyKey: "org_acme"}
	if _, err := runs.Trigger(context.Background(), spec, jobrun.WithName("acme-1")); err != nil {
		log.Fatal(err)
	}
	for event, err := range events {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Type, event.Run.Name)
		if event.Type == jobrun.EventComplete {
			break
		}
	}
	// Output:
	// run:trigger acme-1
	// run:progress acme-1
	// run:complete acme-1
}
