// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/internal/testing/mutants"
)

// broken is a build of the managers and gateways with a bug that a reasonable person might write.
type broken struct {
	edits   []mutants.Edit
	faults  []string // make the bug show
	promise string   // is broken by the bug
}

const (
	mutantDuration = 45 * time.Second
	// mutantPatience is short, because some of these managers never come to rest.
	mutantPatience = 2 * time.Minute
)

// withoutFence lets every Job pass.
var withoutFence = mutants.Edit{
	File: "internal/webhook/v1alpha1/fence.go",
	From: `switch err := h.checkLease(ctx, job); {`,
	To:   `switch err := error(nil); {`,
}

var brokenBuilds = map[string]broken{
	"coalesce from the cache": {
		edits: []mutants.Edit{{
			File: "internal/keystore/admit.go",
			From: `	return answer.Verdict == runkey.Reserved && next != nil && !a.dryRun &&
		(`,
			To: `	return true || next == nil || (`,
		}},
		faults:  []string{"lag-watches", "slow-api"},
		promise: linearizable,
	},
	"claim without compare-and-swap": {
		edits: []mutants.Edit{{
			File: "internal/keystore/keystore.go",
			From: `	key := current.DeepCopy()
	key.Spec = *spec
`,
			To: `	key := current.DeepCopy()
	if l := current.Spec.Leased; spec.Leased != nil && (l == nil || l.FromVersion != spec.Leased.FromVersion) {
		if latest, err := get(ctx, s.live, client.ObjectKeyFromObject(current)); err == nil && latest != nil {
			key = latest.DeepCopy()
		}
	}
	key.Spec = *spec
`,
		}},
		faults:  []string{"slow-api"},
		promise: "I1",
	},
	"release by timestamp": {
		edits: []mutants.Edit{{
			File: "internal/controller/observe_execution.go",
			From: `	e.Expires, e.Left = true, duration-idle
`,
			To: `	e.Expires, e.Left = true, duration-idle
	if run.Status.Lease.RenewTime != nil {
		e.Left = duration - o.Clock.Now().Sub(run.Status.Lease.RenewTime.Time)
	}
`,
		}},
		faults:  []string{"fast-clock"},
		promise: leases,
	},
	"count without the exactly-once guard": {
		edits: []mutants.Edit{
			{File: "internal/decision/absorb.go", From: `run == nil || hasCounted(run, first.UID) {`, To: `run == nil {`},
			{
				File: "internal/decision/absorb.go",
				From: `s.runToCountOn(receipt) == run && hasCounted(run, receipt.UID) == counted`,
				To:   `s.runToCountOn(receipt) == run`,
			},
			{
				File: "internal/decision/absorb.go",
				From: `func bindCounted(s *Snapshot) []Op {
`,
				To: `func bindCounted(s *Snapshot) []Op {
	if s != nil {
		return nil
	}
`,
			},
			{
				File: "internal/decision/status.go",
				From: `	for _, receipt := range receipts {
		counted.Recent = append(counted.Recent, recentEntry(receipt))
`,
				To: `	for _, receipt := range receipts {
		if hasCounted(run, receipt.UID) {
			continue
		}
		counted.Recent = append(counted.Recent, recentEntry(receipt))
`,
			},
		},
		faults:  []string{"kill-manager", "slow-api", "cut-api", "lag-watches"},
		promise: "I3",
	},
	"the fence left out": {
		edits:   []mutants.Edit{withoutFence},
		faults:  []string{"late-jobs"},
		promise: "I4",
	},
	"the Job before the RunKey": {
		edits: []mutants.Edit{withoutFence, {
			File: "internal/decision/claim.go",
			From: `		s.swapKey(next),
		s.checkRunForOldFence(run),
		[]Op{CreateJob{run, generation, version}},`,
			To: `		s.checkRunForOldFence(run),
		[]Op{CreateJob{run, generation, version}},
		s.swapKey(next),`,
		}},
		promise: "I4",
	},
	"the gateway answers before the commit": {
		edits: []mutants.Edit{{
			File: "internal/gateway/share.go",
			From: `		return jobrun.New(s.API, t.Namespace).Trigger(ctx, t.Spec, triggerOptions(t.User, t.Labels)...)
`,
			To: `		options := append(triggerOptions(t.User, t.Labels), jobrun.WithName(fmt.Sprintf("early-%d", time.Now().UnixNano())))
		go func() {
			_, _ = jobrun.New(s.API, t.Namespace).Trigger(context.WithoutCancel(ctx), t.Spec, options...)
		}()
		return jobrun.New(s.API, t.Namespace).Trigger(ctx, t.Spec, append(options, jobrun.DryRun())...)
`,
		}},
		faults:  []string{"kill-gateway"},
		promise: atGateways,
	},
	"a lost create is sent again under a new name": {
		edits: []mutants.Edit{{
			File: "pkg/jobrun/create.go",
			From: `	run := c.sent.DeepCopy()
	err := c.api.Create(ctx, run, c.options...)
`,
			To: `	if c.lost {
		c.sent.Name = generateName("", c.sent.Spec.JobName)
	}
	run := c.sent.DeepCopy()
	err := c.api.Create(ctx, run, c.options...)
`,
		}},
		faults:  []string{"cut-gateway-api"},
		promise: atGateways,
	},
}

// TestMutants plays a scenario with each broken build. The report must name the broken promise.
func TestMutants(t *testing.T) {
	for name, b := range brokenBuilds {
		t.Run(name, func(t *testing.T) {
			suite := start(t, Config{Manager: b.build(t), Seed: shortSeed, Duration: mutantDuration, Patience: mutantPatience})
			report := play(t, suite, b.faults)
			if !slices.Contains(report.Broken(), b.promise) {
				t.Errorf("the report says that %s holds; broken: %s", b.promise, strings.Join(report.Broken(), ", "))
			}
		})
	}
}

// TestMutantsCompile shows that the edits still fit the code. It is faster than TestMutants.
func TestMutantsCompile(t *testing.T) {
	for name, b := range brokenBuilds {
		t.Run(name, func(t *testing.T) { b.compile(t, t.TempDir(), "./internal/...") })
	}
}

// build builds the manager with its bug.
func (b broken) build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	manager := filepath.Join(dir, "manager")
	b.compile(t, dir, "-o="+manager, "./cmd")
	return manager
}

func (b broken) compile(t *testing.T, dir string, args ...string) {
	t.Helper()
	overlay, err := mutants.Overlay(checkout.Path(), dir, b.edits...)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", append([]string{"build", "-tags=chaos", "-overlay=" + overlay}, args...)...)
	command.Dir = checkout.Path()
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}
