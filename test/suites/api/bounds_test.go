// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// bounds are the manifest that a value goes into, and the least and greatest length, size or amount of the value. A
// greatest of 0 means that the value has no upper bound.
type bounds struct {
	field, manifest string
	least, greatest int
}

const (
	admission   = "spec: {jobName: a, admission: {disposition: Created, "
	trigger     = "status: {coalesced: {count: 1, recent: [{"
	progress    = "status: {lease: {generation: 1}, progress: {generation: 1, "
	concurrency = "spec: {kind: Concurrency, jobName: a, key: k, "
	idempotency = "spec: {kind: Idempotency, jobName: a, key: k, "
	remembered  = idempotency + "owner: {runName: r, token: t}, idempotencyTTLSeconds: 60, outcome: {" +
		"completionTime: '2026-01-02T15:04:05Z', forgetTime: '2026-01-02T15:04:05Z', "
)

func TestLengths(t *testing.T) {
	testBounds(t, "JobRun", characters, []bounds{
		{"spec.concurrencyKey", "spec: {jobName: a, concurrencyKey: %s}", 1, 256},
		{"spec.idempotencyKey", "spec: {jobName: a, idempotencyKey: %s}", 1, 256},
		{"spec.admission.runName", admission + "runName: %s, runToken: t, token: t}}", 1, 253},
		{"spec.admission.runToken", admission + "runName: r, runToken: %s, token: t}}", 1, 64},
		{"spec.admission.keyVersion", admission + "runName: r, runToken: t, token: t, keyVersion: %s}}", 1, 64},
		{"spec.admission.token", admission + "runName: r, runToken: t, token: %s}}", 1, 64},
		{"status.runRef.name", "status: {runRef: {name: %s}}", 1, 253},
		{"status.runRef.uid", "status: {runRef: {name: r, uid: %s}}", 1, 64},
		{"status.jobRef.name", "status: {jobRef: {name: %s}}", 1, 253},
		{"status.jobRef.uid", "status: {jobRef: {name: j, uid: %s}}", 1, 64},
		{"status.lease.holderIdentity", "status: {lease: {generation: 1, holderIdentity: %s}}", 1, 253},
		{"status.lease.keyVersion", "status: {lease: {generation: 1, keyVersion: %s}}", 1, 64},
		{"status.coalesced.recent[0].name", trigger + "uid: u, name: %s}]}}", 1, 253},
		{"status.coalesced.recent[0].uid", trigger + "name: r, uid: %s}]}}", 1, 64},
		{"status.coalesced.recent[0].input", trigger + "name: r, uid: u, input: %s}]}}", 1, v1alpha1.MaxRecentInputBytes},
		{"status.progress.message", progress + "message: %s}}", 1, 1024},
		{"status.error", "status: {error: %s}", 1, v1alpha1.MaxErrorBytes},
	})
	testBounds(t, "RunKey", characters, []bounds{
		{"spec.jobName", "spec: {kind: Idempotency, jobName: %s, key: k, owner: {runName: r, token: t}}", 1, 63},
		{"spec.key", "spec: {kind: Idempotency, jobName: a, key: %s, owner: {runName: r, token: t}}", 1, 256},
		{"spec.owner.runName", idempotency + "owner: {runName: %s, token: t}}", 1, 253},
		{"spec.owner.token", idempotency + "owner: {runName: r, token: %s}}", 1, 64},
		{"spec.request", idempotency + "owner: {runName: r, token: t}, request: %s}", 1, 64},
		{"spec.outcome.uid", remembered + "uid: %s, phase: Failed, reason: R}}", 1, 64},
		{"spec.outcome.reason", remembered + "uid: u, phase: Failed, reason: %s}}", 1, 1024},
		{"spec.outcome.error", remembered + "uid: u, phase: Failed, reason: R, error: %s}}", 1, v1alpha1.MaxErrorBytes},
		{"spec.outcome.output", remembered + "uid: u, phase: Failed, reason: R, output: %s}}", 1, v1alpha1.MaxRememberedOutputBytes},
		{"spec.pending.runName", concurrency + "pending: {runName: %s, token: t}}", 1, 253},
		{"spec.pending.token", concurrency + "pending: {runName: r, token: %s}}", 1, 64},
		{"spec.pending.idempotencyKey", concurrency + "pending: {runName: r, token: t, idempotencyKey: %s}}", 1, 256},
		{"spec.leased.runName", concurrency + "leased: {runName: %s, token: t, generation: 1}}", 1, 253},
		{"spec.leased.token", concurrency + "leased: {runName: r, token: %s, generation: 1}}", 1, 64},
		{"spec.leased.fromVersion", concurrency + "leased: {runName: r, token: t, generation: 1, fromVersion: %s}}", 1, 64},
		{"spec.unconfirmed[0].job", concurrency + "unconfirmed: [{job: %s, token: t}]}", 1, 253},
		{"spec.unconfirmed[0].token", concurrency + "unconfirmed: [{job: j, token: %s}]}", 1, 64},
	})
}

func TestAmounts(t *testing.T) {
	testBounds(t, "JobRun", strconv.Itoa, []bounds{
		{"spec.leaseDurationSeconds", "spec: {jobName: a, leaseDurationSeconds: %s}", 1, 86400},
		{"spec.maxAttempts", "spec: {jobName: a, maxAttempts: %s}", 1, 1000},
		{"spec.idempotencyTTLSeconds", "spec: {jobName: a, idempotencyKey: i, idempotencyTTLSeconds: %s}", 1, 604800},
		{"spec.ttlSecondsAfterFinished", "spec: {jobName: a, ttlSecondsAfterFinished: %s}", 0, 0},
		{"status.lease.generation", "status: {lease: {generation: %s}}", 1, 0},
		{"status.lease.durationSeconds", "status: {lease: {generation: 1, durationSeconds: %s}}", 1, 86400},
		{"status.finishedGeneration", "status: {finishedGeneration: %s}", 1, 0},
		{"status.attempts", "status: {attempts: %s}", 1, 0},
		{"status.observedGeneration", "status: {observedGeneration: %s}", -1, 0},
		{"status.coalesced.count", "status: {coalesced: {count: %s}}", 1, 0},
		{"status.progress.current", progress + "current: %s}}", 0, 0},
		{"status.progress.total", progress + "total: %s}}", 0, 0},
		{"status.progress.generation", "status: {lease: {generation: 1}, progress: {generation: %s}}", 1, 0},
	})
	testBounds(t, "RunKey", strconv.Itoa, []bounds{
		{"spec.pending.generation", concurrency + "pending: {runName: r, token: t, generation: %s}}", 1, 0},
		{"spec.leased.generation", concurrency + "leased: {runName: r, token: t, generation: %s}}", 1, 0},
	})
}

func TestSizes(t *testing.T) {
	testBounds(t, "JobRun", items("{name: r, uid: u%d}", "[%s]"), []bounds{
		{"status.coalesced.recent", "status: {coalesced: {count: 1, recent: %s}}", 1, v1alpha1.MaxRecent},
	})
	testBounds(t, "RunKey", items("{job: j, token: t%d}", "[%s]"), []bounds{
		{"spec.unconfirmed", concurrency + "unconfirmed: %s}", 1, v1alpha1.MaxUnconfirmed},
	})
	testBounds(t, "JobRun", items("l%d: v", "{%s}"), []bounds{
		{"status.coalesced.recent[0].labels", trigger + "name: r, uid: u, labels: %s}]}}", 1, v1alpha1.MaxRecentLabels},
	})
	// An empty list of conditions is allowed.
	condition := "{type: T%d, status: 'True', reason: R, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}"
	testBounds(t, "JobRun", items(condition, "[%s]"), []bounds{
		{"status.conditions", "status: {conditions: %s}", 0, 16},
	})
}

func TestSpecIsRequired(t *testing.T) {
	for _, kind := range []string{"JobRun", "RunKey"} {
		refusal{"spec", "Required value"}.check(t, newClient(t).Create(context.Background(), object(t, kind, "{}")))
	}
}

// characters writes n characters of several bytes each, because the schema counts characters.
func characters(n int) string { return `"` + strings.Repeat("💥", n) + `"` }

// items writes a list or a map of n different items.
func items(item, all string) func(int) string {
	return func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(item, i)
		}
		return fmt.Sprintf(all, strings.Join(list, ", "))
	}
}

// testBounds tries the values at the bounds and just beyond them.
func testBounds(t *testing.T, kind string, write func(int) string, fields []bounds) {
	t.Helper()
	for _, b := range fields {
		testBound(t, kind, b, b.least, write, refusal{})
		if write(0) == "0" || b.least > 0 {
			testBound(t, kind, b, b.least-1, write, refusal{b.field, strconv.Itoa(b.least)})
		}
		if b.greatest > 0 {
			testBound(t, kind, b, b.greatest, write, refusal{})
			testBound(t, kind, b, b.greatest+1, write, refusal{b.field, strconv.Itoa(b.greatest)})
		}
	}
}

func testBound(t *testing.T, kind string, b bounds, n int, write func(int) string, want refusal) {
	t.Helper()
	t.Run(fmt.Sprintf("%s.%s %d", kind, b.field, n), func(t *testing.T) {
		t.Parallel()
		manifest := fmt.Sprintf(b.manifest, write(n))
		if status, ok := strings.CutPrefix(manifest, "status: "); ok {
			want.check(t, patchStatus(t, create(t, kind, "spec: {jobName: a}"), status))
			return
		}
		want.check(t, newClient(t).Create(context.Background(), object(t, kind, manifest)))
	})
}
