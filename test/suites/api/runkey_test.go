// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"testing"
)

func TestRunKeySpec(t *testing.T) {
	const (
		pendingRun = "pending: {runName: r, token: t}"
		leasedRun  = "leased: {runName: r, token: t, generation: 1}"
		inLine     = "line: {runName: r, token: t}"
		owner      = "owner: {runName: r, token: t}"
		outcome    = "outcome: {uid: u, phase: Failed, reason: R, completionTime: '2026-01-02T15:04:05Z', forgetTime: '2026-01-02T15:04:05Z'}"
		note       = "unconfirmed: [{job: j, token: t}]"
		free       = "a Concurrency key has pending, leased, line or unconfirmed, an Idempotency key has an owner"
	)
	required := func(field string) refusal { return refusal{"spec." + field, "Required value"} }
	for name, tc := range map[string]struct {
		spec string
		want refusal
	}{
		"Concurrency, pending":            {spec: "kind: Concurrency, jobName: a, key: k, " + pendingRun},
		"Concurrency, leased":             {spec: "kind: Concurrency, jobName: a, key: k, " + leasedRun},
		"Concurrency, both":               {spec: "kind: Concurrency, jobName: a, key: k, " + pendingRun + ", " + leasedRun},
		"Concurrency, line":               {spec: "kind: Concurrency, jobName: a, key: k, " + inLine},
		"Concurrency, unconfirmed":        {spec: "kind: Concurrency, jobName: a, key: k, " + note},
		"Idempotency, unconfirmed":        {"kind: Idempotency, jobName: a, key: k, " + owner + ", " + note, refusal{"spec", free}},
		"Idempotency, line":               {"kind: Idempotency, jobName: a, key: k, " + owner + ", " + inLine, refusal{"spec", free}},
		"Concurrency, none":               {"kind: Concurrency, jobName: a, key: k", refusal{"spec", free}},
		"Concurrency with an owner":       {"kind: Concurrency, jobName: a, key: k, " + pendingRun + ", " + owner, refusal{"spec", free}},
		"Concurrency with an owner alone": {"kind: Concurrency, jobName: a, key: k, " + owner, refusal{"spec", free}},
		"Idempotency":                     {spec: "kind: Idempotency, jobName: a, key: k, " + owner},
		"Idempotency without an owner":    {"kind: Idempotency, jobName: a, key: k", refusal{"spec", free}},
		"Idempotency, pending":            {"kind: Idempotency, jobName: a, key: k, " + owner + ", " + pendingRun, refusal{"spec", free}},
		"Idempotency, leased":             {"kind: Idempotency, jobName: a, key: k, " + owner + ", " + leasedRun, refusal{"spec", free}},

		"Concurrency that remembers": {"kind: Concurrency, jobName: a, key: k, idempotencyTTLSeconds: 60, " + pendingRun,
			refusal{"spec", "a Concurrency key has no request, idempotencyTTLSeconds, idempotencyRelease or outcome"}},
		"Idempotency that remembers":       {spec: "kind: Idempotency, jobName: a, key: k, idempotencyTTLSeconds: 60, " + owner + ", " + outcome},
		"outcome without a TTL":            {"kind: Idempotency, jobName: a, key: k, " + owner + ", " + outcome, refusal{"spec", "outcome needs idempotencyTTLSeconds"}},
		"outcome of a run that has no end": {"kind: Idempotency, jobName: a, key: k, idempotencyTTLSeconds: 60, " + owner + ", outcome: {uid: u, phase: Leased, reason: R, completionTime: '2026-01-02T15:04:05Z', forgetTime: '2026-01-02T15:04:05Z'}", refusal{"spec.outcome.phase", "must be Completed, Failed or Cancelled"}},

		"no kind":               {"jobName: a, key: k, " + owner, required("kind")},
		"unknown kind":          {"kind: Lock, jobName: a, key: k, " + owner, refusal{"spec.kind", `supported values: "Concurrency", "Idempotency"`}},
		"no jobName":            {"kind: Idempotency, key: k, " + owner, required("jobName")},
		"no key":                {"kind: Idempotency, jobName: a, " + owner, required("key")},
		"owner, no runName":     {"kind: Idempotency, jobName: a, key: k, owner: {token: t}", required("owner.runName")},
		"owner, no token":       {"kind: Idempotency, jobName: a, key: k, owner: {runName: r}", required("owner.token")},
		"pending, no runName":   {"kind: Concurrency, jobName: a, key: k, pending: {token: t}", required("pending.runName")},
		"pending, no token":     {"kind: Concurrency, jobName: a, key: k, pending: {runName: r}", required("pending.token")},
		"unconfirmed, no job":   {"kind: Concurrency, jobName: a, key: k, unconfirmed: [{token: t}]", required("unconfirmed[0].job")},
		"unconfirmed, no token": {"kind: Concurrency, jobName: a, key: k, unconfirmed: [{job: j}]", required("unconfirmed[0].token")},
		"unconfirmed twice": {"kind: Concurrency, jobName: a, key: k, unconfirmed: [{job: j, token: t}, {job: j, token: t}]",
			refusal{"spec.unconfirmed[1]", "Duplicate value"}},
		"leased, no runName":    {"kind: Concurrency, jobName: a, key: k, leased: {token: t, generation: 1}", required("leased.runName")},
		"leased, no token":      {"kind: Concurrency, jobName: a, key: k, leased: {runName: r, generation: 1}", required("leased.token")},
		"leased, no generation": {"kind: Concurrency, jobName: a, key: k, leased: {runName: r, token: t}", required("leased.generation")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.want.check(t, newClient(t).Create(context.Background(), object(t, "RunKey", "spec: {"+tc.spec+"}")))
		})
	}
}

func TestRunKeyUpdate(t *testing.T) {
	const (
		concurrency = "spec: {kind: Concurrency, jobName: a, key: k, pending: {runName: r, token: t}}"
		idempotency = "spec: {kind: Idempotency, jobName: a, key: k, owner: {runName: r, token: t}}"
		memory      = "spec: {kind: Idempotency, jobName: a, key: k, owner: {runName: r, token: t}, idempotencyTTLSeconds: 60, outcome: " +
			"{uid: u, phase: Failed, reason: R, completionTime: '2026-01-02T15:04:05Z', forgetTime: '2026-01-02T15:04:05Z'}}"
	)
	immutable := refusal{"spec", "kind, jobName and key are immutable"}
	freed := refusal{"spec", "a Concurrency key has pending, leased, line or unconfirmed, an Idempotency key has an owner"}
	for name, tc := range map[string]struct {
		before, patch string
		want          refusal
	}{
		"claimed":          {concurrency, "spec: {pending: null, leased: {runName: r, token: t, generation: 1, fromVersion: '1'}}", refusal{}},
		"given to another": {concurrency, "spec: {pending: {runName: s, token: u}}", refusal{}},
		"freed":            {concurrency, "spec: {pending: null}", freed},
		"another kind":     {concurrency, "spec: {kind: Idempotency, pending: null, owner: {runName: r, token: t}}", immutable},
		"another jobName":  {concurrency, "spec: {jobName: b}", immutable},
		"another key":      {concurrency, "spec: {key: l}", immutable},
		"disowned":         {idempotency, "spec: {owner: null}", freed},
		"remembered": {idempotency, "spec: {idempotencyTTLSeconds: 60, outcome: {uid: u, phase: Failed, reason: R, " +
			"completionTime: '2026-01-02T15:04:05Z', forgetTime: '2026-01-02T15:04:05Z'}}", refusal{}},
		"remembered otherwise": {memory, "spec: {outcome: {phase: Completed}}", refusal{"spec", "outcome changes only with the owner"}},
		"no more remembered":   {memory, "spec: {outcome: null}", refusal{"spec", "outcome changes only with the owner"}},
		"passed on":            {memory, "spec: {outcome: null, owner: {runName: s, token: u}}", refusal{}},
		"owned by another":     {idempotency, "spec: {owner: {runName: s, token: u}}", refusal{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.want.check(t, patch(t, create(t, "RunKey", tc.before), tc.patch))
		})
	}
}
