// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"testing"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	pending  = "{phase: Pending}"
	leased2  = "{phase: Leased, lease: {generation: 2, holderIdentity: worker}}"
	keyed2   = "{phase: Leased, lease: {generation: 2, holderIdentity: worker, keyVersion: '7'}}"
	reported = "{progress: {generation: 2, current: 1, total: 3}}"
	expired  = "{lease: {generation: 3, holderIdentity: null}}"
	waits3   = "{phase: Pending, lease: {generation: 3, holderIdentity: null}}"
	ended    = "{phase: Completed, finishedGeneration: 2}"
)

// Each case writes the statuses in before, and then applies the patch to the status.
func TestJobRunStatus(t *testing.T) {
	var (
		fell     = refusal{"status.lease", "status.lease cannot be removed and its generation never falls"}
		holder   = refusal{"status.lease.holderIdentity", "changes only with a higher generation"}
		notEnd   = refusal{"status.finishedGeneration", "a terminal phase needs finishedGeneration equal to lease.generation"}
		entry    = refusal{"status.lease.generation", "entering phase Leased needs a higher lease.generation"}
		held     = refusal{"status.lease.holderIdentity", "a run that waits again has no holder"}
		nobody   = refusal{"status.lease.holderIdentity", "entering phase Leased needs lease.holderIdentity"}
		aJob     = refusal{"status.lease.holderIdentity", "must not if it is Worker"}
		version  = refusal{"status.lease.keyVersion", "changes only with a higher generation"}
		progress = refusal{"status.progress.generation", "a changed status.progress needs its generation equal to lease.generation"}
		stored   = refusal{"status.stored", "status.stored is immutable"}
	)
	for name, tc := range map[string]struct {
		before []string
		patch  string
		want   refusal
	}{
		"no status is set to null":  {patch: "null"},
		"a status is set to null":   {[]string{pending}, "null", refusal{}}, // no more than a phase of null
		"a lease is set to null":    {[]string{leased2}, "null", fell},
		"the end is set to null":    {[]string{leased2, ended}, "null", fell},
		"an empty phase is refused": {[]string{pending}, `{phase: ""}`, refusal{"status.phase", "supported values"}},
		"an unknown phase":          {[]string{pending}, `{phase: Running}`, refusal{"status.phase", "supported values"}},

		"the version is recorded":        {[]string{pending}, "{stored: '7'}", refusal{}},
		"the recorded version changes":   {[]string{pending, "{stored: '7'}"}, "{stored: '8'}", stored},
		"a client drops what it ignores": {[]string{pending, "{stored: '7'}"}, "{stored: null}", refusal{}},

		"Leased without a lease":        {[]string{pending}, "{phase: Leased}", refusal{"status.lease", "phase Leased needs a lease"}},
		"the first lease":               {[]string{pending}, leased2, refusal{}},
		"leased again, same generation": {[]string{leased2, waits3}, "{phase: Leased, lease: {generation: 3}}", entry},
		"leased again, a higher one":    {[]string{leased2, waits3}, "{phase: Leased, lease: {generation: 4, holderIdentity: other}}", refusal{}},
		"leased again, a lower one":     {[]string{leased2, waits3}, leased, fell},
		"leased from no phase, same":    {[]string{leased2, expired, "{phase: null}"}, "{phase: Leased}", entry},
		"leased from no phase, higher":  {[]string{leased2, expired, "{phase: null}"}, "{phase: Leased, lease: {generation: 4, holderIdentity: other}}", refusal{}},
		"waits again, and is held":      {[]string{leased2}, "{phase: Pending}", held},
		"has no phase, and is held":     {[]string{leased2}, "{phase: null}", held},
		"waits again, held by another":  {[]string{leased2}, "{phase: Pending, lease: {generation: 3, holderIdentity: other}}", held},
		"waits again":                   {[]string{leased2}, waits3, refusal{}},
		"leased by nobody":              {[]string{pending}, "{phase: Leased, lease: {generation: 1}}", nobody},
		"leased by nobody, again":       {[]string{leased2, expired, pending}, "{phase: Leased, lease: {generation: 4}}", nobody},
		"a worker in the name of a Job": {[]string{pending}, "{phase: Leased, lease: {generation: 1, holderIdentity: job/a-1}}", aJob},
		"another keyVersion":            {[]string{keyed2}, "{lease: {keyVersion: '8'}}", version},
		"no keyVersion":                 {[]string{keyed2}, "{lease: {keyVersion: null}}", version},
		"a keyVersion where was none":   {[]string{leased2}, "{lease: {keyVersion: '8'}}", version},
		"another one, higher":           {[]string{keyed2}, "{lease: {generation: 3, holderIdentity: other, keyVersion: '8'}}", refusal{}},
		"a worker of the name job":      {[]string{pending}, "{phase: Leased, lease: {generation: 1, holderIdentity: job}}", refusal{}},

		"the generation falls":                    {[]string{leased2}, "{lease: {generation: 1}}", fell},
		"the generation falls once it ended":      {[]string{leased2, ended}, "{lease: {generation: 1}, finishedGeneration: 1}", fell},
		"the generation is removed":               {[]string{leased2}, "{lease: {generation: null}}", refusal{"status.lease.generation", "Required value"}},
		"the lease is removed":                    {[]string{leased2}, "{lease: null}", fell},
		"the lease is removed with the phase":     {[]string{leased2}, "{phase: Pending, lease: null}", fell},
		"the lease is removed once it ended":      {[]string{leased2, ended}, "{lease: null, finishedGeneration: null}", fell},
		"the lease is renewed":                    {[]string{leased2}, "{lease: {renewTime: '2026-01-01T00:00:00.000000Z'}}", refusal{}},
		"another holder":                          {[]string{leased2}, "{lease: {holderIdentity: other}}", holder},
		"no holder":                               {[]string{leased2}, "{lease: {holderIdentity: null}}", holder},
		"a holder where there was none":           {[]string{leased2, expired}, "{lease: {holderIdentity: other}}", holder},
		"another holder with a higher generation": {[]string{leased2}, "{lease: {generation: 3, holderIdentity: other}}", refusal{}},
		"no holder with a higher generation":      {[]string{leased2}, expired, refusal{}},
		"the same holder with a higher one":       {[]string{leased2}, "{lease: {generation: 3}}", refusal{}},

		"the end without a generation":           {[]string{leased2}, "{phase: Completed}", notEnd},
		"the end with the generation":            {[]string{leased2}, ended, refusal{}},
		"the end with a lower generation":        {[]string{leased2}, "{phase: Completed, finishedGeneration: 1}", notEnd},
		"the end with a generation to come":      {[]string{leased2}, "{phase: Completed, finishedGeneration: 3}", notEnd},
		"the end after the lease expired":        {[]string{leased2, expired}, ended, notEnd},
		"failure without a generation":           {[]string{leased2}, "{phase: Failed}", notEnd},
		"failure with a lower generation":        {[]string{leased2}, "{phase: Failed, finishedGeneration: 1}", notEnd},
		"failure after the lease expired":        {[]string{leased2, expired}, "{phase: Failed, finishedGeneration: 2}", notEnd},
		"cancellation without a generation":      {[]string{leased2}, "{phase: Cancelled}", notEnd},
		"cancellation with a lower one":          {[]string{leased2}, "{phase: Cancelled, finishedGeneration: 1}", notEnd},
		"failure of a run never leased":          {[]string{pending}, "{phase: Failed}", refusal{}},
		"the same with a made-up generation":     {[]string{pending}, "{phase: Failed, finishedGeneration: 1}", notEnd},
		"failure of a run that expired":          {[]string{leased2, expired}, "{phase: Failed, finishedGeneration: 3}", refusal{}},
		"a new lease of a run that ended":        {[]string{leased2, ended}, "{lease: {generation: 3}}", notEnd},
		"another generation of a run that ended": {[]string{leased2, ended}, "{finishedGeneration: 1}", notEnd},
		"the record of a run that ended goes on": {[]string{leased2, ended}, "{output: {a: 1}, coalesced: {count: 1}, observedGeneration: 1}", refusal{}},

		"progress without a lease":              {[]string{pending}, "{progress: {generation: 1, current: 1}}", progress},
		"progress":                              {[]string{leased2}, reported, refusal{}},
		"progress without a generation":         {[]string{leased2}, "{progress: {current: 1}}", refusal{"status.progress.generation", "Required value"}},
		"progress of a lower generation":        {[]string{leased2}, "{progress: {generation: 1, current: 1}}", progress},
		"progress of a generation to come":      {[]string{leased2}, "{progress: {generation: 3, current: 1}}", progress},
		"more progress":                         {[]string{leased2, reported}, "{progress: {generation: 2, current: 2}}", refusal{}},
		"more progress after the lease expired": {[]string{leased2, reported, expired}, "{progress: {generation: 2, current: 2}}", progress},
		"old progress is kept at expiry":        {[]string{leased2, reported}, expired, refusal{}},
		"old progress is kept after it":         {[]string{leased2, reported, expired}, "{phase: Pending, attempts: 1}", refusal{}},
		"old progress is taken away":            {[]string{leased2, reported, expired}, "{progress: null}", refusal{}},
		"progress with the end":                 {[]string{leased2}, "{phase: Completed, finishedGeneration: 2, progress: {generation: 2, current: 3}}", refusal{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := create(t, "JobRun", "spec: {jobName: a}")
			mustPatchStatus(t, run, tc.before...)
			tc.want.check(t, patchStatus(t, run, tc.patch))
		})
	}
}

// Only its Job can hold the lease of a run with a template, and of one whose definition has a template.
func TestWhoHoldsARunWithATemplate(t *testing.T) {
	for holder, want := range map[string]refusal{
		"job/a-1": {}, "worker": {"status.lease.holderIdentity", "a run that a Job executes is held by that Job"},
	} {
		for _, spec := range []string{
			"jobName: a, template: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}", "jobName: a" + admittedFor("Job"),
		} {
			run := create(t, "JobRun", "spec: {"+spec+"}")
			mustPatchStatus(t, run, pending)
			want.check(t, patchStatus(t, run, "{phase: Leased, lease: {generation: 1, holderIdentity: "+holder+"}}"))
		}
	}
}

func TestJobRunStatusShape(t *testing.T) {
	const recent = "status.coalesced.recent"
	for name, tc := range map[string]struct {
		status string
		want   refusal
	}{
		"output of a string":        {"{output: text}", refusal{}},
		"output of a list":          {"{output: [1, {a: null}]}", refusal{}},
		"output of an object":       {"{output: {a: {b: 1}}}", refusal{}},
		"runRef without a uid":      {"{runRef: {name: r}}", refusal{}},
		"runRef without a name":     {"{runRef: {uid: u}}", refusal{"status.runRef.name", "Required value"}},
		"jobRef without a name":     {"{jobRef: {uid: u}}", refusal{"status.jobRef.name", "Required value"}},
		"lease without generation":  {"{lease: {holderIdentity: h}}", refusal{"status.lease.generation", "Required value"}},
		"coalesced without a count": {"{coalesced: {recent: [{name: r, uid: u}]}}", refusal{"status.coalesced.count", "Required value"}},
		"a trigger without a uid":   {"{coalesced: {count: 1, recent: [{name: r}]}}", refusal{recent + "[0].uid", "Required value"}},
		"a trigger without a name":  {"{coalesced: {count: 1, recent: [{uid: u}]}}", refusal{recent + "[0].name", "Required value"}},
		"a trigger twice":           {"{coalesced: {count: 2, recent: [{name: r, uid: u}, {name: r, uid: u}]}}", refusal{recent + "[1]", "Duplicate value"}},
		"a condition twice": {
			"{conditions: [" + condition + ", " + condition + "]}",
			refusal{"status.conditions[1]", "Duplicate value"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.want.check(t, patchStatus(t, create(t, "JobRun", "spec: {jobName: a}"), tc.status))
		})
	}
}

const condition = "{type: Complete, status: 'True', reason: R, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}"

// Only a write of the subresource changes the status, and it does not change the spec.
func TestJobRunStatusSubresource(t *testing.T) {
	run := object(t, "JobRun", "{spec: {jobName: a}, status: {phase: Completed}}")
	if err := newClient(t).Create(context.Background(), run); err != nil {
		t.Fatal(err)
	}
	if err := patch(t, run, "{metadata: {labels: {a: b}}, status: {phase: Pending}}"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "after a write of the object,", run, unwritten)
	if err := newClient(t).Status().Patch(context.Background(), run, mergePatch(t, "{spec: {cancel: true}, status: {phase: Pending}}")); err != nil {
		t.Fatal(err)
	}
	if got := typed(t, run); got.Spec.Cancel != nil || got.Status.Phase != v1alpha1.PhasePending {
		t.Errorf("after a write of the status: cancel %v, phase %q", got.Spec.Cancel, got.Status.Phase)
	}
}
